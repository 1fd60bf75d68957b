/// A deprecated reference to a document: a namespace and an id.
public struct DBPointer: Hashable, Sendable {
    public let namespace: BSONString
    public let id: ObjectID

    public init(namespace: BSONString, id: ObjectID) {
        self.namespace = namespace
        self.id = id
    }
}
