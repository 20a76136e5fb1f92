// What a service tells an administrator of its guests, page by page.
import IPC
import SystemMap
import Testing

@Suite struct GuestReportTests {
    /// Ids 00 00 …, 01 00 …
    private func ids(_ count: Int) -> [GuestID] {
        (0..<count).compactMap { GuestID([UInt8($0)] + [UInt8](repeating: 0, count: GuestID.size - 1)) }
    }

    @Test func everyGuestIsOnExactlyOnePageAndEveryPageFitsAMessage() throws {
        let all = ids(100)
        var (former, seen): ([UInt8], [GuestID]) = ([], [])
        while true {
            let wire = GuestReports(all.shuffled(), after: former) { _ in [("key", String(repeating: "x", count: 300))] }.wire
            #expect(wire.count < Frame.largest)
            let page = try GuestReports(wire: wire)
            seen += page.guests.map(\.id)
            guard page.hasMore, let last = page.guests.last else { break }
            former = last.id.bytes
        }
        #expect(seen == all)
    }

    @Test func linesThatAreTooLongAreLeftOutAndTheGuestIsNot() throws {
        let page = GuestReports(ids(1), after: []) { _ in [("key", String(repeating: "x", count: 4000))] }
        #expect(page.guests.count == 1 && page.guests.first?.lines.lines.isEmpty == true)
    }

    @Test func aReportCutOffAnywhereIsRefused() {
        let wire = GuestReports(ids(2), after: []) { _ in [("boots", "1")] }.wire
        for count in wire.indices { #expect((try? GuestReports(wire: Array(wire[..<count]))) == nil) }
    }
}
