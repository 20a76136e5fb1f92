// The order in which requests are served, where answering takes so long that it matters.

package enum Turn: Equatable, Sendable {
    /// Of those that wait: by index.
    case serve(Int)
    /// Nobody, for so many milliseconds or until another request comes.
    case later(Int32)
}

/// What becomes of a message.
package enum Arrival: Sendable {
    /// It is answered at once.
    case answered
    /// It waits for its turn.
    case waits
    /// It takes back the request that waits, if one does: that is answered `withdrawn`. The message itself has no answer.
    case withdraws
}

/// A service's say in who is served next. One request of each connection waits; who sends another meanwhile is cut off.
package struct Turns<C> {
    package var arrival: (_ number: UInt16, _ connection: C) -> Arrival
    /// - Parameter waiting: at least one; who waits longest stands first.
    package var next: (_ waiting: [C]) -> Turn
    /// The answer is made.
    package var served: (C) -> Void

    package init(
        arrival: @escaping (_ number: UInt16, _ connection: C) -> Arrival, next: @escaping (_ waiting: [C]) -> Turn,
        served: @escaping (C) -> Void
    ) {
        self.arrival = arrival
        self.next = next
        self.served = served
    }
}

// MARK: - In the server, which serves connections of one type and does not care of which

/// A connection as the type that all connections of its server have.
func own<C: Connection>(_ connection: any Connection) -> C {
    // SAFETY: they come from the server's `welcome`, whose type says it, and from its routes, which make others of the same.
    unsafeDowncast(connection, to: C.self)
}

extension Route where C: Connection {
    var erased: Route<any Connection> {
        Route<any Connection>(number: number, callers: callers) { [run] bytes, connection in run(bytes, own(connection)) }
    }
}

extension Turns where C: Connection {
    var erased: Turns<any Connection> {
        Turns<any Connection>(
            arrival: { [arrival] number, connection in arrival(number, own(connection)) },
            next: { [next] waiting in next(waiting.map { own($0) }) }, served: { [served] in served(own($0)) })
    }
}
