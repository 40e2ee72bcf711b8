import COpenSSL

/// Reads PEM text.
enum PEM {
    /// All certificates, in order; the caller frees them. None when one of them is damaged: a
    /// bundle that ends early would trust less, or prove less, than it says.
    @unsafe static func certificates(_ text: [UInt8]) -> [OpaquePointer] {
        unsafe withMemoryBIO(text) { bio in
            ERR_clear_error()
            var certificates: [OpaquePointer] = unsafe []
            while let certificate = unsafe PEM_read_bio_X509(bio, nil, refusePassphrase, nil) {
                unsafe certificates.append(certificate)
            }
            // The end of the text is the one reason to stop that is none to complain.
            let isWhole = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE
            ERR_clear_error()
            if isWhole { return unsafe certificates }
            unsafe certificates.forEach { unsafe X509_free($0) }
            return unsafe []
        }
    }

    /// The first private key; the caller frees it.
    @unsafe static func privateKey(_ text: [UInt8]) -> OpaquePointer? {
        unsafe withMemoryBIO(text) { bio in
            let key = unsafe PEM_read_bio_PrivateKey(bio, nil, refusePassphrase, nil)
            ERR_clear_error()
            return unsafe key
        }
    }

    private static func withMemoryBIO<Result>(
        _ text: [UInt8], _ body: (OpaquePointer?) -> Result
    ) -> Result {
        unsafe text.withUnsafeBytes { bytes in
            let bio = unsafe BIO_new_mem_buf(bytes.baseAddress, Int32(clamping: bytes.count))
            defer { unsafe BIO_free(bio) }
            return unsafe body(bio)
        }
    }
}

/// Without this, OpenSSL would ask for the passphrase of an encrypted key on the terminal and wait.
private func refusePassphrase(
    _ buffer: UnsafeMutablePointer<CChar>?, _ size: Int32, _ isWriting: Int32,
    _ context: UnsafeMutableRawPointer?
) -> Int32 { -1 }
