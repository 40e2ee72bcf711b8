import Foundation
import Glibc
import Testing

@testable import Runtime

@Suite struct AccessLogSinkTests {
    private func line(_ text: String) -> [UInt8] { Array(#"{"line":"\#(text)"}"#.utf8) + [0x0a] }

    @Test func `lines that a full disk has swallowed are told of`() throws {
        let path = FileManager.default.temporaryDirectory.path + "/sluice-log-\(UUID().uuidString)"
        let log = unsafe open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0o600)
        defer { close(log) }
        // As the descriptor of a disk that is full, and then has room.
        let descriptor = unsafe open("/dev/full", O_WRONLY | O_CLOEXEC)
        defer { close(descriptor) }
        let sink = AccessLogSink(descriptor: descriptor)
        sink.append(line("lost"))
        sink.flush()
        sink.flush()
        sink.append(line("lost too"))
        sink.flush()
        try #require(dup2(log, descriptor) == descriptor)
        sink.append(line("kept"))
        sink.flush()
        let lines = try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n")
        #expect(lines == [#"{"level":"warning","lost_log_batches":2}"#, #"{"line":"kept"}"#])
    }
}
