import CZlib
import Primitives

/// Decompresses one body as it comes, over zlib, a bounded piece at a time.
@safe public struct Inflater: ~Copyable {
    private enum State {
        /// The first byte tells which form of `deflate` it is.
        case fresh
        case running
        /// A whole member is done: another one may follow (RFC 1952 section 2.2).
        case finished
    }

    /// zlib keeps a pointer to its stream, so it must not move.
    private let stream: UnsafeMutablePointer<z_stream>
    private let coding: ContentCoding
    private var state = State.fresh
    private var read = 0
    private var written = 0

    /// A decompressor for one body.
    public init(_ coding: ContentCoding) {
        self.coding = coding
        unsafe stream = .allocate(capacity: 1)
        unsafe stream.initialize(to: z_stream())
    }

    deinit {
        _ = unsafe inflateEnd(stream)
        unsafe stream.deinitialize(count: 1)
        unsafe stream.deallocate()
    }

    /// Whether the body may end here.
    public var isComplete: Bool {
        switch state {
        case .fresh: read == 0
        case .running: false
        case .finished: true
        }
    }

    /// Decompresses on from `position`; what came out replaces `output`, at most
    /// `Limits.inflatedBytes` of it. False: the bytes are used up.
    /// - Throws: when the bytes are not what they should be, or are a decompression bomb.
    public mutating func next(
        _ bytes: Span<UInt8>, position: inout Int, into output: inout [UInt8]
    ) throws(CompressionFailure) -> Bool {
        output.removeAll(keepingCapacity: true)
        if case .running = state {
        } else {
            guard position < bytes.count else { return false }
            try begin(bytes[position])
        }
        let (used, made, code) = inflate(bytes.extracting(position..<bytes.count), into: &output)
        position += used
        read += used
        written += made
        guard written <= Limits.inflatedFreeBytes || written / Limits.inflationRatio <= read else {
            throw CompressionFailure(
                "its compressed body swells too much")
        }
        switch code {
        case Z_STREAM_END: state = .finished
        case Z_OK, Z_BUF_ERROR: break
        default: throw CompressionFailure("its compressed body is damaged")
        }
        return made > 0 || position < bytes.count && used > 0
    }

    private mutating func begin(_ first: UInt8) throws(CompressionFailure) {
        if case .finished = state {
            guard coding == .gzip, first == 0x1f, unsafe inflateReset(stream) == Z_OK else {
                throw CompressionFailure("its compressed body is followed by something else")
            }
        } else {
            // RFC 1950 section 2.2: the method is 8 and the window at most 32 KB.
            let isZlib = first & 0x0f == 8 && first >> 4 <= 7
            let windowBits: Int32 = coding == .gzip ? 15 + 16 : isZlib ? 15 : -15
            guard unsafe zlib_inflate_init(stream, windowBits) == Z_OK else {
                throw CompressionFailure("there is no memory to decompress its body")
            }
        }
        state = .running
    }

    private mutating func inflate(
        _ bytes: Span<UInt8>, into output: inout [UInt8]
    ) -> (used: Int, made: Int, code: Int32) {
        output.append(contentsOf: repeatElement(0, count: Limits.inflatedBytes))
        let code = unsafe bytes.withUnsafeBufferPointer { source in
            unsafe output.withUnsafeMutableBufferPointer { target in
                // zlib promises not to write to its input.
                unsafe stream.pointee.next_in = UnsafeMutablePointer(mutating: source.baseAddress)
                unsafe stream.pointee.avail_in = UInt32(clamping: source.count)
                unsafe stream.pointee.next_out = target.baseAddress
                unsafe stream.pointee.avail_out = UInt32(clamping: target.count)
                return unsafe CZlib.inflate(stream, Z_NO_FLUSH)
            }
        }
        let used = unsafe bytes.count - Int(stream.pointee.avail_in)
        let made = unsafe output.count - Int(stream.pointee.avail_out)
        output.removeLast(output.count - made)
        return (used, made, code)
    }
}
