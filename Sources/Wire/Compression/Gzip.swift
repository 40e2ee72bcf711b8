import CZlib
import Primitives

/// Compresses whole bodies.
public enum Gzip {
    /// The gzip form of a body (RFC 1952); nil when zlib has no memory, or it would not be smaller.
    public static func compress(_ body: [UInt8]) -> [UInt8]? {
        var stream = unsafe z_stream()
        // The fastest level: text shrinks to a third, and each further level costs more than it
        // brings.
        guard unsafe zlib_deflate_init(&stream, 1, 15 + 16) == Z_OK else { return nil }
        defer { _ = unsafe deflateEnd(&stream) }
        var output = [UInt8](repeating: 0, count: body.count)
        let code = unsafe body.withUnsafeBufferPointer { source in
            unsafe output.withUnsafeMutableBufferPointer { target in
                // zlib promises not to write to its input.
                unsafe stream.next_in = UnsafeMutablePointer(mutating: source.baseAddress)
                unsafe stream.avail_in = UInt32(clamping: source.count)
                unsafe stream.next_out = target.baseAddress
                unsafe stream.avail_out = UInt32(clamping: target.count)
                return unsafe deflate(&stream, Z_FINISH)
            }
        }
        guard code == Z_STREAM_END else { return nil }
        output.removeLast(unsafe Int(stream.avail_out))
        return output
    }
}
