import Gateway
import Primitives
import Wire

/// Fetches images that clients name by URL (rule A15), on a thread beside the data path.
///
/// A gateway that fetches for clients can be made to reach what only it can reach (SSRF). So: https
/// only, public addresses only, checked after the look-up and used as checked, and the same again
/// for each redirect.
struct ImageFetcher {
    private static let redirectLimit = 2

    private let order: ImageOrder
    private let deadline = SystemClock.now().advanced(
        byMilliseconds: Limits.imagesFetchMilliseconds)

    /// A fetcher of these images; their time begins now.
    init(_ order: ImageOrder) { self.order = order }

    /// Fetches all; the first failure ends it.
    func fetch() -> FetchedImages {
        var images: [[UInt8]: [UInt8]] = [:]
        for url in order.urls where images[url] == nil {
            do throws(BlockingHTTPClient.Failure) {
                images[url] = try fetch(String(decoding: url, as: UTF8.self))
            } catch {
                return error.isOverload ? .overloaded(error.message) : .failed(error.message)
            }
        }
        return .found(images)
    }

    private func fetch(_ url: String) throws(BlockingHTTPClient.Failure) -> [UInt8] {
        var next = url
        for _ in 0...Self.redirectLimit {
            let (base, path) = try Self.split(next)
            let left = deadline.milliseconds(since: SystemClock.now())
            var client = BlockingHTTPClient(
                timeoutMilliseconds: min(Limits.imageFetchMilliseconds, left))
            client.bodyLimit = Limits.remoteImageBytes
            client.isAllowed = { PublicAddress.isPublic($0) }
            client.isWanted = { order.isWanted }
            client.mayHold = { order.take($0) }
            var fields = HeaderFields()
            fields.append("accept", "image/*")
            fields.append("connection", "close")
            let answer = try client.send("GET", base, path: path, fields: fields)
            if answer.status == 200 { return answer.body }
            guard (300..<400).contains(answer.status), let location = answer.location else {
                throw BlockingHTTPClient.Failure(
                    message: "the image's server answered \(answer.status)")
            }
            next = location.hasPrefix("/") ? "https://\(base.hostField)\(location)" : location
        }
        throw BlockingHTTPClient.Failure(message: "the image's server redirects too often")
    }

    private static func split(
        _ url: String
    ) throws(BlockingHTTPClient.Failure) -> (BackendURL, path: String) {
        let beforeFragment = url.prefix { $0 != "#" }
        let rest = beforeFragment.dropFirst("https://".count)
        let authority = rest.prefix { $0 != "/" && $0 != "?" }
        let target = rest.dropFirst(authority.count)
        guard url.hasPrefix("https://"), target.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f }),
            let base = BackendURL(text: "https://\(authority)")
        else {
            throw BlockingHTTPClient.Failure(message: "an image's address must be a https URL")
        }
        return (base, target.hasPrefix("/") ? String(target) : "/\(target)")
    }
}

/// Addresses of the public internet, by what is not (RFC 6890).
enum PublicAddress {
    private static let reservedIPv4: [(prefix: UInt32, length: UInt32)] = [
        (0x0000_0000, 8), (0x0a00_0000, 8), (0x6440_0000, 10), (0x7f00_0000, 8),
        (0xa9fe_0000, 16), (0xac10_0000, 12), (0xc000_0000, 24), (0xc000_0200, 24),
        (0xc058_6300, 24), (0xc0a8_0000, 16), (0xc612_0000, 15), (0xc633_6400, 24),
        (0xcb00_7100, 24), (0xe000_0000, 4), (0xf000_0000, 4),
    ]

    static func isPublic(_ address: SocketAddress) -> Bool {
        let bytes = address.bytes
        guard address.isIPv6 else {
            let number = bytes.reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
            return !reservedIPv4.contains {
                number >> (32 - $0.length) == $0.prefix >> (32 - $0.length)
            }
        }
        // Global unicast is 2000::/3; documentation, Teredo and 6to4 in it lead elsewhere.
        guard bytes[0] & 0xe0 == 0x20 else { return false }
        let isDocumentation = bytes.starts(with: [0x20, 0x01, 0x0d, 0xb8])
        let isTeredo = bytes.starts(with: [0x20, 0x01, 0, 0])
        return !isDocumentation && !isTeredo && !bytes.starts(with: [0x20, 0x02])
    }
}
