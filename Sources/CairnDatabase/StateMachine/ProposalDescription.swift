import CairnFiles
import CairnStorage

/// The payload of a log entry in words, for people who look into files.
public enum ProposalDescription {
    /// What `payload` does: one line, and with `showsKeys` one more for each of its operations.
    public static func lines(of payload: ArraySlice<UInt8>, showsKeys: Bool) -> [String] {
        let proposal: ProposalPayload
        do { proposal = try ProposalPayload(decoding: payload) } catch {
            return ["a payload that does not decode (\(error.message))"]
        }
        var lines = [
            "@\(proposal.version.rawValue), \(InspectionText.count(proposal.batch.count, "operation"))"
                + (proposal.touchesCatalog ? ", changes the catalog" : "")
        ]
        guard showsKeys else { return lines }
        proposal.batch.forEach { operation in
            switch operation {
            case .put(let key, let value):
                lines.append("put \(KeyDescription.text(of: key)), \(InspectionText.count(value.count, "byte"))")
            case .delete(let key): lines.append("delete \(KeyDescription.text(of: key))")
            case .deleteRange(let from, let to):
                lines.append("delete \(KeyDescription.text(of: from)) to \(KeyDescription.text(of: to))")
            }
        }
        return lines
    }
}
