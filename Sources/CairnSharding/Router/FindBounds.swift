import CairnBSON
import CairnDatabase
import CairnQuery

extension FindArguments {
    /// The query with its `min` and `max` checked against the index that it hints at, and in that index's order, which is the
    /// one that they are about.
    ///
    /// - Throws: code 51173 without a hint, 51174 when a bound is about other fields, 51175 when nothing lies between them.
    func bounded(in descriptor: CollectionDescriptor) throws(QueryError) -> FindArguments {
        guard minimum != nil || maximum != nil else { return self }
        let pattern: Document
        switch hint {
        case .document(let given)? where given["$natural"] == nil: pattern = given
        case .string(let name)? where name == "_id_": pattern = ["_id": 1]
        case .string(let name)?:
            guard let index = descriptor.index(named: name.string) else {
                throw QueryError(
                    .badValue,
                    "error processing query: planner returned error :: caused by :: hint provided does not correspond to "
                        + "an existing index")
            }
            pattern = index.key
        default:
            throw QueryError(
                ErrorCode(51173), "When using min()/max() a hint of which index to use must be provided")
        }
        guard pattern.allSatisfy({ $0.value.isNumber }) else {
            throw QueryError(ErrorCode(51174), "min and max need an index whose keys are in order")
        }
        for (name, bound) in [("min", minimum), ("max", maximum)] {
            guard let bound else { continue }
            guard bound.map(\.name) == pattern.map(\.name) else {
                throw QueryError(ErrorCode(51174), "The hint provided does not work with \(name) query")
            }
        }
        if let minimum, let maximum {
            var order = 0
            for (field, (low, high)) in zip(pattern, zip(minimum, maximum)) where order == 0 {
                order = Value.compare(low.value, high.value) * (field.value.numericDouble! < 0 ? -1 : 1)
            }
            guard order < 0 else {
                throw QueryError(ErrorCode(51175), "The value of min must be less than the value of max")
            }
        }
        var bounded = self
        if sort == nil { bounded.sort = pattern }
        return bounded
    }
}

extension FindArguments {
    /// Whether the query takes for granted what the router would refuse by this descriptor, but perhaps not by a newer one: an
    /// index, or a capped collection, that came to be through another router. Groups would notice; here nobody is asked.
    func isAhead(of descriptor: CollectionDescriptor) -> Bool {
        if isTailable, descriptor.cappedLimits == nil { return true }
        guard minimum != nil || maximum != nil, case .string(let name)? = hint, name != "_id_" else { return false }
        return descriptor.index(named: name.string) == nil
    }

    func boundedOrFail(in descriptor: CollectionDescriptor) throws(CommandFailure) -> FindArguments {
        do throws(QueryError) { return try bounded(in: descriptor) } catch { throw .error(error) }
    }
}

/// What the router makes of a document that it merged by fields which the client may not want.
struct FindShape {
    var projection: Projection?
    var returnsKey = false
    var showsRecordID = false

    /// The field in which a group sends the key of an index along.
    static let keyField = "$key"
    static let recordIDField = "$recordId"

    init(_ query: FindArguments) throws(QueryError) {
        projection = try query.parsedProjection()
        returnsKey = query.returnsKey
        showsRecordID = query.showsRecordID
    }

    func apply(_ document: Document) throws(QueryError) -> Document {
        var shaped: Document
        if returnsKey {
            shaped = document[Self.keyField]?.asDocument ?? Document()
        } else if let projection {
            shaped = try projection.apply(document.removing(Self.recordIDField))
        } else {
            return document
        }
        if showsRecordID, let id = document[Self.recordIDField] { shaped.set(Self.recordIDField, id) }
        return shaped
    }
}
