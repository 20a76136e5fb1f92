// The table behind handles that are given out: looked into several times a command.

/// What handles name, by their lower 24 bits, which are few and small.
struct Slots<Entry> {
    private var slots: [Entry?] = []
    private(set) var count = 0

    subscript(_ index: UInt32) -> Entry? {
        get { index < slots.count ? slots[Int(index)] : nil }
        set {
            if index >= slots.count {
                guard newValue != nil else { return }
                slots += repeatElement(nil, count: Int(index) + 1 - slots.count)
            }
            count += (newValue == nil ? 0 : 1) - (slots[Int(index)] == nil ? 0 : 1)
            slots[Int(index)] = newValue
        }
    }

    /// Ascending.
    var entries: [(index: UInt32, entry: Entry)] {
        slots.enumerated().compactMap { index, entry in entry.map { (UInt32(index), $0) } }
    }

    mutating func removeAll(where matches: (Entry) -> Bool) {
        for (index, entry) in entries where matches(entry) { self[index] = nil }
    }
}
