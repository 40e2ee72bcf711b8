import Foundation
import TestSupport
import Testing

@testable import Gateway

@Suite struct AccessLogLineTests {
    private func line(model: String) -> [UInt8] {
        var row = LedgerRow()
        row.model = model
        var line: [UInt8] = []
        AccessLogLine.append(row, isJSON: true, to: &line)
        return line
    }

    @Test func `any byte anywhere in a text is a line of JSON that steers no terminal`() {
        let foreign = (0..<0x100).compactMap { Unicode.Scalar($0) } + ["\u{2028}", "\u{202e}", "😀"]
        for scalar in foreign {
            for position in 0..<18 {
                let model =
                    String(repeating: "x", count: position) + String(Character(scalar))
                    + String(repeating: "y", count: 17 - position)
                let line = line(model: model)
                let members = JSONSupport.parse(line) as? [String: Any]
                #expect(members?["model"] as? String == model, "\(scalar.value) at \(position)")
                #expect(!line.dropLast().contains { $0 < 0x20 || $0 == 0x7f })
            }
        }
    }

    @Test func `a plain text stands as it is`() {
        for count in 0..<40 {
            let model = String(repeating: "a~ /", count: 10).prefix(count)
            let text = String(decoding: line(model: String(model)), as: UTF8.self)
            #expect(text.contains(",\"model\":\"\(model)\",\""))
        }
    }
}
