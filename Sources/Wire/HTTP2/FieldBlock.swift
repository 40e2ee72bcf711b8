import CNghttp2
import Primitives

/// The fields of one head as nghttp2 wants them: names and values stay where they are.
struct FieldBlock {
    /// Pseudo-header fields, which come first (RFC 9113 section 8.3), and the body's length.
    var lead = HeaderFields(reservingFields: 5, bytes: 128)
    private let fields: HeaderFields
    private let flags: UInt8

    /// Unless they are copied, the fields must become a frame while `withFields` runs.
    init(_ fields: HeaderFields, isCopied: Bool = false) {
        self.fields = fields
        flags = isCopied ? 0 : noCopy
    }

    /// Calls `body` with all fields and their number; they are valid until it returns.
    func withFields<Result>(
        _ body: (UnsafePointer<nghttp2_nv>?, Int) -> Result
    ) -> Result {
        unsafe lead.withUnsafeBytes { leadBytes in
            unsafe fields.withUnsafeBytes { bytes in
                let count = lead.count + fields.count
                return unsafe withUnsafeTemporaryAllocation(
                    of: nghttp2_nv.self, capacity: count
                ) { buffer in
                    var list = unsafe OutputSpan(buffer: buffer, initializedCount: 0)
                    unsafe append(lead, in: leadBytes, to: &list)
                    unsafe append(fields, in: bytes, to: &list)
                    _ = unsafe list.finalize(for: buffer)
                    return unsafe body(buffer.baseAddress, count)
                }
            }
        }
    }

    private func append(
        _ fields: borrowing HeaderFields, in bytes: UnsafeBufferPointer<UInt8>,
        to list: inout OutputSpan<nghttp2_nv>
    ) {
        for index in 0..<fields.count {
            let place = fields.place(at: index)
            let base = unsafe UnsafeMutablePointer(mutating: bytes.baseAddress)
            unsafe list.append(
                nghttp2_nv(
                    name: base.map { unsafe $0 + place.name.lowerBound },
                    value: base.map { unsafe $0 + place.value.lowerBound },
                    namelen: place.name.count, valuelen: place.value.count, flags: flags))
        }
    }
}

private let noCopy =
    UInt8(NGHTTP2_NV_FLAG_NO_COPY_NAME.rawValue) | UInt8(NGHTTP2_NV_FLAG_NO_COPY_VALUE.rawValue)
