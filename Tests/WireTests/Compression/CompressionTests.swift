import Foundation
import Primitives
import Testing
import Wire

@Suite struct CompressionTests {
    /// `printf 'hello hello hello\n'`, compressed by other programs: gzip -9n, Python's zlib, and
    /// Python's zlib with wbits=-15.
    static let text = Array("hello hello hello\n".utf8)
    static let vectors: [(coding: ContentCoding, bytes: [UInt8])] = [
        (.gzip, bytes("1f8b0800000000000203cb48cdc9c957c840905c003b7c8adf12000000")),
        (.deflate, bytes("78dacb48cdc9c957c840905c0040b50687")),
        (.deflate, bytes("cb48cdc9c957c840905c00")),
    ]

    private static func bytes(_ text: String) -> [UInt8] {
        stride(from: 0, to: text.utf8.count - 1, by: 2).compactMap {
            UInt8(text.dropFirst($0).prefix(2), radix: 16)
        }
    }

    /// All that comes out when the bytes come in pieces of `step`.
    private func inflate(
        _ bytes: [UInt8], _ coding: ContentCoding, step: Int = .max
    ) throws -> (body: [UInt8], isComplete: Bool) {
        var inflater = Inflater(coding)
        var body: [UInt8] = []
        var output: [UInt8] = []
        var start = 0
        while start < bytes.count {
            let piece = Array(bytes[start..<min(bytes.count, start + min(step, bytes.count))])
            start += piece.count
            var position = 0
            while try inflater.next(piece.span, position: &position, into: &output) {
                body += output
            }
        }
        return (body, inflater.isComplete)
    }

    @Test(arguments: 0..<3, [Int.max, 1, 2, 5])
    func `what others have compressed is read, however it is cut`(_ vector: Int, _ step: Int) throws
    {
        let (coding, bytes) = Self.vectors[vector]
        let (body, isComplete) = try inflate(bytes, coding, step: step)
        #expect(body == Self.text)
        #expect(isComplete)
    }

    @Test(arguments: 0..<3)
    func `a body that is cut short is not complete`(_ vector: Int) throws {
        let (coding, bytes) = Self.vectors[vector]
        for count in 1..<bytes.count {
            let (body, isComplete) = try inflate(Array(bytes.prefix(count)), coding)
            #expect(Self.text.starts(with: body))
            #expect(!isComplete, "\(count) bytes")
        }
    }

    @Test func `no single wrong byte of gzip goes unnoticed, and none traps`() {
        let bytes = Self.vectors[0].bytes
        // The header's time, extra flags and system say nothing about the body.
        for index in bytes.indices where !(4..<10).contains(index) {
            for change in [UInt8(1), 0x80, 0xff] {
                var damaged = bytes
                damaged[index] ^= change
                guard let (body, isComplete) = try? inflate(damaged, .gzip) else { continue }
                #expect(!isComplete || body == Self.text, "byte \(index)")
            }
        }
    }

    @Test func `members may follow each other, anything else may not`() throws {
        let (body, isComplete) = try inflate(Self.vectors[0].bytes + Self.vectors[0].bytes, .gzip)
        #expect(body == Self.text + Self.text)
        #expect(isComplete)
        #expect(throws: CompressionFailure.self) {
            try inflate(Self.vectors[0].bytes + [0], .gzip)
        }
        #expect(throws: CompressionFailure.self) {
            try inflate(Self.vectors[1].bytes + [0x1f], .deflate)
        }
    }

    @Test(arguments: [Int.max, 4096])
    func `a bomb is refused before it has swollen`(_ step: Int) throws {
        let bomb = try #require(Gzip.compress([UInt8](repeating: 0x20, count: 8 << 20)))
        var inflater = Inflater(.gzip)
        var output: [UInt8] = []
        var most = 0
        var total = 0
        var failure: CompressionFailure?
        var start = 0
        while start < bomb.count, failure == nil {
            let piece = Array(bomb[start..<min(bomb.count, start + min(step, bomb.count))])
            start += piece.count
            var position = 0
            do throws(CompressionFailure) {
                while try inflater.next(piece.span, position: &position, into: &output) {
                    most = max(most, output.count)
                    total += output.count
                }
            } catch { failure = error }
        }
        #expect(failure != nil)
        #expect(most <= Limits.inflatedBytes)
        #expect(total < 8 << 20)
    }

    @Test func `what we compress comes back`() throws {
        for count in [0, 1, 100, 1000, 1 << 20] {
            let body = (0..<count).map { UInt8(truncatingIfNeeded: $0 / 7 % 97) }
            guard let packed = Gzip.compress(body) else {
                #expect(count < 100)
                continue
            }
            #expect(packed.count < body.count)
            #expect(try inflate(packed, .gzip).body == body)
        }
        var generator = SeededGenerator(seed: 1)
        let noise = (0..<1000).map { _ in UInt8(truncatingIfNeeded: generator.next()) }
        #expect(Gzip.compress(noise) == nil)
    }

    @Test(arguments: [
        ("gzip", true), ("gzip, deflate, br", true), ("GZIP;q=0.5", true), ("*", true),
        ("br", false), ("", false), ("gzip;q=0", false), ("gzip; q=0.000, *", false),
        ("*;q=0", false), ("identity;q=1, *;q=0", false), ("x-gzip", true), ("gzipped", false),
        (" deflate ;q=1 , gzip ;q=0.1 ", true),
    ])
    func `what a client accepts is understood`(_ value: String, _ isAccepted: Bool) {
        var fields = HeaderFields()
        fields.append("accept-encoding", text: value)
        #expect(ContentCoding.isGzipAccepted(fields) == isAccepted)
    }

    @Test(arguments: [
        ("gzip", ContentCoding.Reading.coded(.gzip)), ("X-GZIP", .coded(.gzip)),
        ("deflate", .coded(.deflate)), ("identity", .identity), ("", .identity),
        ("br", .unknown), ("gzip, gzip", .unknown),
    ])
    func `how a body is compressed is understood`(_ value: String, _ reading: ContentCoding.Reading)
    {
        var fields = HeaderFields()
        #expect(ContentCoding.read(fields) == .identity)
        fields.append("content-encoding", text: value)
        #expect(ContentCoding.read(fields) == reading)
    }
}
