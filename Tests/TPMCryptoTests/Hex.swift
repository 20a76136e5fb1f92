// Visible bytes.

/// Bytes of a hexadecimal literal; blanks between digits are for the eye.
func hex(_ text: String) -> [UInt8] {
    let digits = text.compactMap(\.hexDigitValue)
    precondition(digits.count % 2 == 0, "half a byte")
    return stride(from: 0, to: digits.count, by: 2).map { UInt8(digits[$0] << 4 | digits[$0 + 1]) }
}

/// first, first + 1, …
func run(_ first: UInt8, _ count: Int) -> [UInt8] { (0..<count).map { first &+ UInt8(truncatingIfNeeded: $0) } }

func ascii(_ text: String) -> [UInt8] { Array(text.utf8) }
