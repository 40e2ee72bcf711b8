import Primitives
import TestSupport
import Testing

@Suite struct TimerWheelTests {
    @Test func `timers fire in time, and never early`() {
        let start = Instant(nanoseconds: 1_000_000_000)
        var wheel = TimerWheel(now: start)
        var random = SeededGenerator(seed: 7)
        var deadlines: [Int: Instant] = [:]
        for index in 0..<500 {
            let deadline = start.advanced(
                byMilliseconds: Int.random(in: 1...40_000, using: &random))
            deadlines[index] = deadline
            wheel.arm(index, at: deadline)
        }
        for index in stride(from: 0, to: 500, by: 7) {
            wheel.cancel(index)
            deadlines[index] = nil
        }
        var now = start
        while let wake = wheel.nextWake() {
            #expect(wake > now)
            now = max(wake, now)
            var due: [Int] = []
            wheel.advance(to: now, due: &due)
            for index in due {
                let deadline = deadlines.removeValue(forKey: index)
                #expect(deadline.map { $0 <= now } == true)
                if let deadline { #expect(now.milliseconds(since: deadline) <= 4) }
            }
        }
        #expect(deadlines.isEmpty)
        let count = wheel.count
        #expect(count == 0)
    }

    @Test func `a timer that is armed again fires once, at its later time`() {
        var wheel = TimerWheel(now: Instant(nanoseconds: 0))
        wheel.arm(3, at: Instant(nanoseconds: 50_000_000))
        wheel.arm(3, at: Instant(nanoseconds: 90_000_000))
        var due: [Int] = []
        wheel.advance(to: Instant(nanoseconds: 60_000_000), due: &due)
        #expect(due.isEmpty)
        wheel.advance(to: Instant(nanoseconds: 100_000_000), due: &due)
        #expect(due == [3])
    }
}

@Suite struct TimeTests {
    @Test(arguments: [Int64.min, Int64.min + 999, -1_000, -1, 0, 999, Int64.max])
    func `every time has a date`(_ milliseconds: Int64) {
        let time = WallTime(milliseconds: milliseconds)
        let rest = Int128(milliseconds) - Int128(time.seconds) * 1000
        #expect((0..<1000).contains(rest))
        #expect(CivilDate(time).millisecond == Int(rest))
        #expect(RFC3339.text(time).hasSuffix("Z"))
    }
}

extension TimerWheelTests {
    @Test func `a timer for the end of time is one like any other`() {
        var wheel = TimerWheel(now: Instant(nanoseconds: 0))
        wheel.arm(1, at: Instant(nanoseconds: 5).advanced(byMilliseconds: .max))
        let wake = wheel.nextWake()
        #expect(wake.map { $0.nanoseconds > UInt64(Int64.max) } == true)
        var due: [Int] = []
        wheel.advance(to: Instant(nanoseconds: 1 << 60), due: &due)
        #expect(due.isEmpty)
    }
}

@Suite struct SlabTests {
    @Test func `a handle finds its own occupant only`() {
        var slab = Slab<String>(capacity: 1)
        let first = slab.insert("a")
        let second = slab.insert("b")
        let removed = slab.remove(first)
        #expect(removed == "a")
        let third = slab.insert("c")
        #expect(third.index == first.index)
        let (hasFirst, count) = (slab.contains(first), slab.count)
        #expect(!hasFirst)
        #expect(count == 2)
        let values = [slab[second], slab[third]]
        #expect(values == ["b", "c"])
        #expect(Handle(word: third.word) == third)
    }
}

@Suite struct CodingTests {
    @Test(arguments: [
        ("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy"),
    ])
    func `Base64 goes both ways (RFC 4648 section 10)`(_ text: String, _ encoded: String) {
        #expect(Base64.encode(Array(text.utf8).span) == Array(encoded.utf8))
        #expect(Base64.decode(Array(encoded.utf8).span) == Array(text.utf8))
    }

    @Test func `lenient Base64 takes what clients send`() {
        let bytes: [UInt8] = [0xfb, 0xff, 0xfe, 1]
        #expect(Base64.decode(Array("-__\n-AQ".utf8).span, lenient: true) == bytes)
        #expect(Base64.decode(Array("-__-AQ==".utf8).span) == nil)
        #expect(Base64.decode(Array("QQ=".utf8).span, lenient: true) == [0x41])
        #expect(Base64.decode(Array("a".utf8).span, lenient: true) == nil)
        #expect(Base64.decode(Array("a=b=".utf8).span, lenient: true) == nil)
    }

    @Test(arguments: [
        ("3.00", 6, 3_000_000), ("0.075", 6, 75_000), ("1e-05", 6, 10), ("25", 9, 25_000_000_000),
        ("0.0000005", 6, 1), ("0.0000004", 6, 0),
    ])
    func `decimals are scaled exactly`(_ text: String, _ digits: Int, _ value: Int64) {
        #expect(Decimal.scaled(Array(text.utf8).span, digits: digits) == value)
    }

    @Test(arguments: [
        "", ".", "1.2.3", "-1", "x", "99999999999999999999", "1e99", "1e-9223372036854775808",
    ])
    func `what is no decimal is refused`(_ text: String) {
        #expect(Decimal.scaled(Array(text.utf8).span, digits: 6) == nil)
    }

    @Test(
        arguments: [
            (0, 1, "0"), (0, 4, "0000"), (0x9, 1, "9"), (0xa, 1, "a"), (0x0f10, 1, "f10"),
            (0xdead_beef, 8, "deadbeef"), (0xdead_beef, 16, "00000000deadbeef"),
            (0x0123_4567_89ab_cdef, 1, "123456789abcdef"), (.max, 16, "ffffffffffffffff"),
        ] as [(UInt64, Int, String)])
    func `a number is written in hexadecimal`(_ number: UInt64, _ width: Int, _ text: String) {
        let written = [UInt8](atMost: 16) { $0.append(hexadecimal: number, width: width) }
        #expect(String(decoding: written, as: UTF8.self) == text)
    }

    @Test func `a foreign text stays in one line and steers no terminal`() {
        let text = "a\nb\u{1b}[2J\u{9b}31m\u{7f}\u{2028}\u{202e}é€"
        #expect(
            PrintableText.line(text)
                == #"a\u{a}b\u{1b}[2J\u{9b}31m\u{7f}\u{2028}\u{202e}é€"#)
        #expect(PrintableText.line("plain é") == "plain é")
    }

    @Test func `times are written and read`() {
        let time = WallTime(milliseconds: 1_767_323_045_678)
        #expect(RFC3339.text(time) == "2026-01-02T03:04:05.678Z")
        #expect(RFC3339.time("2026-01-02T03:04:05.678Z") == time)
        #expect(RFC3339.time("2026-01-02T04:04:05.678+01:00") == time)
        #expect(RFC3339.time("2026-13-02") == nil)
        #expect(
            CivilDate.midnight(year: 2026, month: 13, day: 1)
                == CivilDate.midnight(year: 2027, month: 1, day: 1))
    }

    @Test func `a secret shows nothing`() {
        let secret = Secret("sk-very-secret")
        #expect(
            "\(secret) \(String(reflecting: secret)) \(String(describing: [secret]))"
                .contains("very") == false)
        var dumped = ""
        dump(secret, to: &dumped)
        #expect(!dumped.contains("very"))
        #expect(secret.isSame(as: Secret("sk-very-secret")))
        #expect(!secret.isSame(as: Secret("sk-very-secreT")))
    }
}
