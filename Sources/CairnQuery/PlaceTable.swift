/// Where each of several keys stands, in the order of their coming: looked at one by one while they are few, which is quicker then,
/// and found by their hash when there are many.
struct PlaceTable<Key: Hashable & Sendable>: Sendable {
    /// Keys that are looked at one by one.
    private static var fewMax: Int { 16 }

    private(set) var keys: [Key] = []
    /// Empty while there are few.
    private var places: [Key: Int] = [:]

    init() {}

    init(_ keys: [Key]) { for key in keys { append(key) } }

    @inline(__always)
    func place(of key: Key) -> Int? {
        if !places.isEmpty { return places[key] }
        for place in keys.indices where keys[place] == key { return place }
        return nil
    }

    /// Adds a key at the end. Of equal ones the first is found.
    mutating func append(_ key: Key) {
        keys.append(key)
        if !places.isEmpty {
            if places[key] == nil { places[key] = keys.count - 1 }
        } else if keys.count > Self.fewMax {
            places = Dictionary(zip(keys, keys.indices), uniquingKeysWith: { first, _ in first })
        }
    }
}
