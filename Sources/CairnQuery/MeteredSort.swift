extension Array {
    /// Sorts as `sort(by:)` does, under the meter of the run at hand, with which a long sort ends.
    ///
    /// - Parameter steps: what one comparison takes.
    mutating func meteredSort(steps: Int = 4, by goesFirst: (Element, Element) -> Bool) throws(QueryError) {
        do {
            try sort { left, right in
                try WorkMeter.count(steps)
                return goesFirst(left, right)
            }
        } catch let error as QueryError {
            throw error
        } catch {
            preconditionFailure("a comparison ends with its run or not at all")
        }
    }
}
