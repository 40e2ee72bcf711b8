import CSys
import Gateway
import Glibc
public import Primitives

/// What a name stands for.
public enum ResolvedAddresses: Sendable, Equatable {
    /// At least one address, the families in turn, IPv6 first (RFC 8305 section 4).
    case found([SocketAddress])
    /// None; the text says why.
    case failed(String)
    /// Nobody knows just now, such as name servers that do not answer; the text says why.
    case unavailable(String)
}

/// Looks names up off the loop: getaddrinfo(3) blocks. One look-up a name at a time, with a cache.
public final class Resolver: Sendable {
    /// Receives an answer, on any thread.
    public typealias Reply = @Sendable (ResolvedAddresses) -> Void

    private struct Name: Hashable {
        let host: String
        let port: UInt16
    }

    private enum Entry {
        case pending([Reply])
        case known(ResolvedAddresses, until: Instant)
    }

    /// A name that is not there may come soon (a container that starts): ask again quickly.
    private static let failureLifetimeMilliseconds = 2_000

    private let entries = Locked<[Name: Entry]>([:])

    /// An empty cache.
    public init() {}

    /// Answers at once from a literal or the cache, else from a thread of its own.
    public func lookup(
        host: String, port: UInt16, now: Instant, reply: @escaping Reply
    ) {
        if let address = SocketAddress(literal: host, port: port) {
            return reply(.found([address]))
        }
        let name = Name(host: host, port: port)
        let (known, mustAsk) = entries.withLock { entries -> (ResolvedAddresses?, Bool) in
            switch entries[name] {
            case .known(let addresses, let until) where now < until: return (addresses, false)
            case .pending(let replies):
                entries[name] = .pending(replies + [reply])
                return (nil, false)
            case .known, nil:
                entries[name] = .pending([reply])
                return (nil, true)
            }
        }
        if let known { reply(known) }
        guard mustAsk else { return }
        do throws(KernelFailure) {
            let thread = try BackgroundThread { [self] in
                finish(name, Self.resolve(host: name.host, port: name.port))
            }
            thread.detach()
        } catch {
            finish(name, .unavailable("no thread to look it up (errno \(error.number))"))
        }
    }

    private func finish(_ name: Name, _ addresses: ResolvedAddresses) {
        let lifetime =
            if case .found = addresses { Limits.addressLifetimeMilliseconds } else {
                Self.failureLifetimeMilliseconds
            }
        let until = SystemClock.now().advanced(byMilliseconds: lifetime)
        let replies = entries.withLock { entries -> [Reply] in
            let pending = entries[name]
            entries[name] = .known(addresses, until: until)
            if case .pending(let replies) = pending { return replies }
            return []
        }
        for reply in replies { reply(addresses) }
    }

    private static let boundedLookups = Gauge()

    /// Looks a name up now; the calling thread waits, but not beyond `deadline`: getaddrinfo(3)
    /// itself takes as long as its name servers do.
    static func resolve(
        host: String, port: UInt16, until deadline: Instant,
        look: @escaping @Sendable (String, UInt16) -> ResolvedAddresses = Resolver.resolve
    ) -> ResolvedAddresses {
        if let address = SocketAddress(literal: host, port: port) { return .found([address]) }
        guard boundedLookups.value < Limits.boundedLookups else {
            return .unavailable("too many names are looked up")
        }
        boundedLookups.add(1)
        let answer = Locked<ResolvedAddresses?>(nil)
        let bell = Doorbell()
        do throws(KernelFailure) {
            let thread = try BackgroundThread {
                let found = look(host, port)
                boundedLookups.add(-1)
                answer.withLock { $0 = found }
                bell.ring()
            }
            thread.detach()
        } catch {
            boundedLookups.add(-1)
            return .unavailable("no thread to look it up (errno \(error.number))")
        }
        var left = deadline.milliseconds(since: SystemClock.now())
        while left > 0 {
            bell.wait(atMostMilliseconds: left)
            if let found = answer.withLock({ $0 }) { return found }
            left = deadline.milliseconds(since: SystemClock.now())
        }
        return .unavailable("the name '\(host)' was not resolved in time")
    }

    /// Looks a name up now; the calling thread waits.
    static func resolve(host: String, port: UInt16) -> ResolvedAddresses {
        var hints = unsafe addrinfo()
        unsafe hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        unsafe hints.ai_flags = AI_ADDRCONFIG
        var list: UnsafeMutablePointer<addrinfo>?
        let result = unsafe getaddrinfo(host, String(port), &hints, &list)
        guard result == 0 else {
            let text = unsafe gai_strerror(result).map { unsafe String(cString: $0) } ?? "unknown"
            let reason = "the name '\(host)' cannot be resolved: \(text)"
            let isLasting = ![EAI_AGAIN, EAI_MEMORY, EAI_SYSTEM].contains(result)
            return isLasting ? .failed(reason) : .unavailable(reason)
        }
        defer { unsafe freeaddrinfo(list) }
        var addresses: [SocketAddress] = []
        var next = unsafe list
        while let entry = unsafe next {
            if let raw = unsafe entry.pointee.ai_addr, let address = SocketAddress(raw),
                !addresses.contains(address)
            {
                addresses.append(address)
            }
            unsafe next = entry.pointee.ai_next
        }
        guard !addresses.isEmpty else {
            return .failed("the name '\(host)' has no addresses")
        }
        return .found(interleaved(addresses))
    }

    private static func interleaved(_ addresses: [SocketAddress]) -> [SocketAddress] {
        let sixes = addresses.filter { $0.isIPv6 }
        let fours = addresses.filter { !$0.isIPv6 }
        var result: [SocketAddress] = []
        for index in 0..<max(sixes.count, fours.count) {
            if index < sixes.count { result.append(sixes[index]) }
            if index < fours.count { result.append(fours[index]) }
        }
        return result
    }
}
