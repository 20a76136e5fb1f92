// The order in which requests are served, where answering takes so long that it matters.

package enum Turn: Equatable, Sendable {
    /// Of those that wait: by index.
    case serve(Int)
    /// Nobody, for so many milliseconds or until another request comes.
    case later(Int32)
}

/// A service's say in who is served next. One request of each connection waits at most; the others stay in its socket.
package struct Turns<C: Connection> {
    /// Whether a request waits for its turn. The others are answered as they come.
    package var waits: (_ number: UInt16, _ connection: C) -> Bool
    /// - Parameter waiting: at least one; who waits longest stands first.
    package var next: (_ waiting: [C]) -> Turn
    /// The answer is made.
    package var served: (C) -> Void

    package init(
        waits: @escaping (_ number: UInt16, _ connection: C) -> Bool, next: @escaping (_ waiting: [C]) -> Turn,
        served: @escaping (C) -> Void
    ) {
        self.waits = waits
        self.next = next
        self.served = served
    }
}
