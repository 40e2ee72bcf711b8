/// Every bound of the program in one place, each with its reason.
public enum Limits {
    // MARK: JSON

    /// Containers within containers: deeper than any real request, shallow enough for every
    /// recursion.
    public static let jsonDepth = 512
    /// Nodes that a tape makes room for before it has seen any: 16 KiB.
    public static let jsonFirstNodes = 1024
    /// Room for nodes that a worker's tape keeps for the next text: 1 MiB.
    public static let jsonIdleNodes = 65536
    /// Nodes of a request's tape that are kept until an attempt reads them: 64 KiB. The body of a
    /// longer one is parsed again.
    public static let jsonKeptNodes = 4096
    /// The longest JSON text: node offsets are 32 bits.
    public static let jsonBytes = Int(Int32.max)

    // MARK: Clients

    /// Connections waiting to be accepted; the kernel caps it at net.core.somaxconn.
    public static let listenBacklog = 4096
    /// Connections taken in one turn of a loop: then those that are served have theirs.
    public static let acceptsPerTurn = 64
    /// Of the descriptors that the system allows, clients get no more than this many percent: each
    /// request also needs one for its backend, and files need some.
    public static let clientDescriptorPercent = 60
    /// When no descriptor is left, or no connection more is wanted, accepting rests this long.
    public static let acceptPauseMilliseconds = 100
    /// Requests that a client may have sent ahead while one is served; then we stop reading.
    public static let pipelinedBytes = 64 << 10
    /// A client gets this long for a whole head: slower ones hold a connection for nothing.
    public static let requestHeadMilliseconds = 30_000
    /// Between two reads of a request's body.
    public static let requestBodyIdleMilliseconds = 60_000
    /// A kept connection may be silent this long; above the 60 s of common load balancers.
    public static let clientIdleMilliseconds = 75_000
    /// A client that takes no byte for this long has gone.
    public static let clientStallMilliseconds = 120_000
    /// What a client may leave unread before we stop reading its backend.
    public static let clientBacklogBytes = 256 << 10
    /// What a client may leave unread at all before we stop reading it.
    public static let clientUnreadBytes = 1 << 20
    /// A refused request's body up to this is read and dropped, so that its connection can be kept.
    public static let discardedBodyBytes = 256 << 10
    /// After a refusal with unread body we read on this long, so that the answer is not lost to a
    /// reset.
    public static let lingerMilliseconds = 2_000
    /// Memory set aside for a body at first. A Content-Length is only a promise, but what nobody
    /// has written to takes no memory.
    public static let bodyReservationBytes = 4 << 20
    /// From here on a body is sent from where it is, and not copied behind its head.
    public static let gatheredBytes = 8 << 10
    /// The largest `limits.header_bytes`: offsets within a head, and what HTTP/2 announces of it,
    /// are 32 bits.
    public static let headBytes = 16 << 20
    /// The longest `x-request-id` that we take over from a client.
    public static let requestIDBytes = 128

    // MARK: Chats

    /// Tools of one chat: OpenAI takes 128. Some rules compare each with each.
    public static let chatTools = 1_024
    /// Tool calls of one assistant message, likewise.
    public static let chatToolCalls = 1_024
    /// Images that one request may name by URL: Converse takes as many.
    public static let remoteImages = 20
    /// The name of a file that is attached: file systems take 255 bytes.
    public static let fileNameBytes = 1 << 10
    /// The model that a client names: ARNs of Bedrock have up to 2,048 characters. Averages and
    /// profiles are remembered by it.
    public static let modelNameBytes = 2 << 10

    // MARK: HTTP/2

    /// Streams that a client may have open at once: agents open hundreds.
    public static let http2ConcurrentStreams = 1_000
    /// What a peer may send on one stream ahead of us: a prompt in one flight, or 25 ms of 40 MB/s.
    public static let http2StreamWindowBytes = 1 << 20
    /// And on all streams of a connection together.
    public static let http2ConnectionWindowBytes = 16 << 20
    /// Bytes of an answer that wait for the window of their stream before its backend is stopped:
    /// a thousand slow streams then hold 64 MB.
    public static let http2StreamBacklogBytes = 64 << 10
    /// Streams whose ends are remembered, so that frames which come too late are told from those
    /// that were on their way: as many as end within a round trip, 2 KB.
    public static let http2RememberedStreams = 512
    /// Heads of answers that wait for a client that does not read; then we stop reading it
    /// (CVE-2019-9517).
    public static let http2UnsentHeadBytes = 64 << 10
    /// And frames that nghttp2 has ready for it.
    public static let http2UnsentFrames = 2_000
    /// Frames put together for one write; the rest waits in its streams.
    public static let http2OutputBytes = 256 << 10
    /// CONTINUATION frames of one header block: four hold the longest list that we take by default
    /// (CVE-2024-28182, CVE-2024-27316).
    public static let http2Continuations = 8
    /// Settings in one frame: there are nine (CVE-2020-11080).
    public static let http2SettingsEntries = 32
    /// Answers to PING and SETTINGS that wait for a peer that does not read (CVE-2019-9512).
    public static let http2OutboundAcknowledgements = 1_000
    /// Frames without content that a peer may send at once, see `FrameBudget`.
    public static let http2IdleFrames = 10_000
    /// And steadily.
    public static let http2IdleFramesPerSecond = 100
    /// A frame of data that a window has cut shorter than this earns no frames: windows opened byte
    /// by byte would pay for themselves (CVE-2019-9511).
    public static let http2WorthwhileDataBytes = 256
    /// Clients acknowledge a frame of data with two windows; some do so bit by bit.
    public static let http2IdleFramesPerDataFrame = 10
    /// A request may come with priorities and windows of its own.
    public static let http2IdleFramesPerStream = 20
    /// Streams broken off at once: an agent that is stopped cancels all it had, twice over.
    public static let http2Resets = 2_000
    /// And steadily: people press "stop", programs hedge.
    public static let http2ResetsPerSecond = 100
    /// A backend that is silent this long while it owes answers is asked for a sign of life.
    public static let http2PingMilliseconds = 30_000
    /// And gets this long to give it.
    public static let http2PingAnswerMilliseconds = 15_000
    /// How often a session is looked after for streams that nobody reads and clients that have
    /// fallen silent.
    public static let http2LookMilliseconds = 10_000
    /// Between the announcement that a connection will end and its last call: a round trip of the
    /// slowest client.
    public static let http2FarewellMilliseconds = 1_000
    /// Streams of one connection that a backend is assumed to take before it has said how many.
    public static let http2AssumedStreams = 100

    // MARK: TLS

    /// How long a session may be resumed: the default of OpenSSL, far below the week that RFC 8446
    /// section 4.6.1 allows.
    public static let tlsSessionSeconds = 7_200
    /// Tickets are sealed with one secret for this long: who steals it reads no older TLS 1.2
    /// connection (RFC 5077 section 5.5).
    public static let tlsTicketSecretMilliseconds = 12 * 3_600_000
    /// Sessions kept for a backend: what a burst of new connections can use at once.
    public static let tlsSessions = 32

    // MARK: Backends

    /// The longest whole answer: 2,048 embeddings of 3,072 dimensions as text are about 80 MB.
    public static let responseBodyBytes = 128 << 20
    /// The part of an error answer that is kept.
    public static let errorBodyBytes = 1 << 20
    /// Of an error in plain text this much is told to the client.
    public static let errorTextBytes = 4 << 10
    /// Of an error's list of wrong fields so many are told.
    public static let errorDetails = 16
    /// The longest SSE event: inline images and tool arguments come in one.
    public static let eventBytes = 16 << 20
    /// What a translated stream keeps back until a block or the answer ends: each of these goes out
    /// as one event, and no model writes as much.
    public static let heldStreamBytes = eventBytes
    /// Blocks of a translated stream that are open at once: a model opens one after another, and
    /// each piece is looked up among them.
    public static let openStreamBlocks = 1_024
    /// A backend's id or model name that a chunk of our own repeats: longer ones are no names.
    public static let streamNameBytes = 1 << 10
    /// Header fields of one event-stream frame: Bedrock sends three, and each is compared with all.
    public static let eventStreamHeaders = 64
    /// HTTP requests of one call that run side by side (embeddings, one input each).
    public static let legsInFlight = 4
    /// A request whose credential was refused waits this long for a new one.
    public static let credentialWaitMilliseconds = 5_000
    /// And looks for it this often.
    public static let credentialLookMilliseconds = 40
    /// A remote image may take this long and be this large (rule A15).
    public static let imageFetchMilliseconds = 5_000
    /// See above.
    public static let remoteImageBytes = 5 << 20
    /// And all images of one request this long: a thread is kept for them.
    public static let imagesFetchMilliseconds = 30_000
    /// How often a thread that waits for a peer looks whether its answer is still wanted.
    public static let unwantedLookMilliseconds = 100
    /// Look-ups of names that are waited for with a deadline, by threads beside the data path. Each
    /// has a thread, which stays until getaddrinfo(3) gives up.
    public static let boundedLookups = 64
    /// Requests whose images are being fetched at once: each has a thread.
    public static let imageFetches = 32
    /// Targets of a route: a request may try them all, and choosing looks at each.
    public static let routeTargets = 256
    /// How often a request is sent again that a backend has not seen: once for a stale connection,
    /// once more for one that is being closed.
    public static let resends = 2
    /// Calls that wait for a connection of a full pool, in each worker.
    public static let poolWaiters = 1024
    /// How long an answer that has been understood may take to end as HTTP before we close instead.
    public static let releaseMilliseconds = 1_000
    /// How long a connection beyond `connections.max_idle` waits for the next request.
    public static let surplusIdleMilliseconds = 1_000
    /// How long the addresses of a name are used by a worker before it asks again.
    public static let addressLifetimeMilliseconds = 30_000
    /// And how long they are still used while nobody can be asked (RFC 8767 section 5).
    public static let staleAddressMilliseconds = 86_400_000
    /// The least time that one address gets before the next one is tried.
    public static let addressAttemptMilliseconds = 250

    // MARK: Compression

    /// What comes out of one step of decompression: one read's worth, whatever went in.
    public static let inflatedBytes = 64 << 10
    /// A compressed answer may swell this much: text reaches 20-fold, zlib allows 1,032-fold.
    public static let inflationRatio = 200
    /// And freely up to this.
    public static let inflatedFreeBytes = 1 << 20
    /// Answers from here on are worth compressing: smaller ones fit in a few packets anyway.
    public static let compressedAnswerBytes = 8 << 10
    /// And up to here: compressing holds up the event loop, 3 ms for each megabyte.
    public static let compressedAnswerLimit = 4 << 20

    // MARK: Streams

    /// A stream's head waits this long for the first event, so that an early failure has a status.
    public static let headDelayMilliseconds = 10_000
    /// Then a comment every so often keeps load balancers calm (most cut at 60 s).
    public static let keepaliveMilliseconds = 15_000

    // MARK: Metering

    /// Bytes of text for one token where nothing better is known: the average of English prose.
    public static let bytesPerTokenGuess = 4
    /// Users that one limit `by: user` keeps apart, about 20 MB; beyond it the longest unused one
    /// starts afresh. Users with a request under way are kept besides.
    public static let userAccounts = 100_000
    /// Users whose use is added up for a gauge before others get the lock again.
    public static let userAccountsPerLook = 1_000
    /// A user's name up to this is kept as it is, a longer one as its digest: names are clients'.
    public static let userNameBytes = 64
    /// A stream's limits are told about its output in steps of this: a second of a fast model.
    public static let meterStepTokens = 64
    /// Where only open requests stand in the way of another one, it is worth asking again so soon.
    public static let heldQuotaMilliseconds = 1_000
    /// Civil time may step back this far without a calendar window being begun again.
    public static let clockStepMilliseconds: Int64 = 3_600_000
    /// When a request larger than a limit might be made again, by those who look at nothing
    /// else: the limit may have been raised.
    public static let hopelessRetrySeconds = 60
    /// How often a worker compares its reservations with what is set aside, if it is awake.
    public static let reservationAuditMilliseconds = 1_000
    /// Of so many tenants each time: requests wait meanwhile.
    public static let tenantsPerAudit = 500
    /// The largest answer that is believed when averages are learned: models' own limit.
    public static let estimatedOutputTokens = 131_072
    /// Strings from here on are looked at: they may be images or sound, whose bytes are no text.
    public static let attachmentTextBytes = 1 << 10
    /// What an attached image takes: 1,105 at OpenAI in high detail, 1,600 at Anthropic.
    public static let attachmentTokens = 1_500
    /// Bytes of Base64 for a token of other attachments: a page of PDF is 100 kB and 1,500 tokens.
    public static let attachmentBytesPerToken = 64
    /// Answers to one request (`n`) that can be ended by a limit: OpenAI allows 128.
    public static let choices = 128
    /// Models whose averages are learned.
    public static let estimatedModels = 4_096
    /// Access-log text that may wait for a slow reader, over all workers.
    public static let pendingLogBytes = 8 << 20
    /// Messages to an operator that may wait: who needs more of them has the first ones.
    public static let pendingMessages = 1_000
    /// At the end, a reader of a log that stalls is waited for this long.
    public static let logFarewellMilliseconds = 2_000
    /// A thread that has nothing to do looks around this often all the same: files change and go
    /// without a word.
    public static let lookAroundMilliseconds = 1_000

    // MARK: Journal and ledger

    /// Of a text that a client or backend has sent (model, user, error code) this much is recorded.
    public static let ledgerTextBytes = 1 << 10
    /// The longest record: thirteen texts and the numbers.
    public static let journalRecordBytes = 64 << 10
    /// A new segment begins with one page of nothing: room for less is no room.
    public static let journalPaddingBytes = 4 << 10
    /// A segment of this size is closed: 50,000 records, read back in a tenth of a second.
    public static let journalSegmentBytes = 16 << 20
    /// And one of this age, so that its rows are in the ledger long before they can be pruned.
    public static let journalSegmentMilliseconds = 600_000
    /// No segment that we write is longer: what is carried over comes on top.
    public static let journalReadBytes = 64 << 20
    /// While a damaged place is skipped, checksums that do not fit may take so many times the bytes
    /// of the segment: whatever stands in it, it is read in seconds.
    public static let journalSkipFactor = 4
    /// How often a journal that could not be written is tried again.
    public static let journalRetryMilliseconds = 1_000
    /// Records that wait for a journal that cannot be written; rows wait for the ledger apart.
    public static let journalUnwrittenBytes = 4 << 20
    /// With this many rows waiting for the ledger, new requests are refused: 40 MB, and the ledger
    /// has been stuck for long.
    public static let ledgerRefusalRows = 50_000
    /// Beyond this many, rows are left to the journal, and read from it later.
    public static let ledgerWaitingRows = 100_000
    /// A reload that brings a day or month limit waits this long for rows that it must know of.
    public static let ledgerAwaitMilliseconds = 2_000
    /// Rows that are put together for one transaction; what comes at once stays together anyway.
    public static let ledgerBatchRows = 1_000
    /// How often old rows are looked for, and journals that killed processes have left.
    public static let ledgerUpkeepMilliseconds = 600_000
    /// The shortest retention: rows must have left the journal long before.
    public static let ledgerRetentionMilliseconds = 86_400_000

    /// Questions about the ledger, and reloads, that the admin side answers at once: each has a
    /// thread, and reads the same disk.
    public static let answersAside = 4

    // MARK: Workers

    /// Model ids of which it is remembered what follows from them.
    public static let modelProfiles = 1 << 10
    /// One read: large enough for most requests, small enough to be fair between connections.
    public static let readBytes = 64 << 10
    /// One read of a large body, straight to where it is kept.
    public static let bodyReadBytes = 256 << 10
    /// Buffers that a worker keeps for the answers of its next turns.
    public static let spareBuffers = 64
    /// One read of a backend's stream: when a loop is late, 64 KiB can hold 300 events, which would
    /// keep every other stream waiting.
    public static let streamReadBytes = 16 << 10
    /// One read of an HTTP/2 client: 64 KiB can hold 600 small requests, which then are all served
    /// before any other client is.
    public static let multiplexedReadBytes = 16 << 10
    /// Larger ones are given back.
    public static let spareBufferBytes = 64 << 10
    /// A buffer that a worker uses for one request after another is given back when it has grown
    /// beyond this: one long body must not stay for good.
    public static let keptBufferBytes = 1 << 20
    /// The longest `drain.delay` and `drain.timeout`: no supervisor waits longer.
    public static let drainMilliseconds = 3_600_000
    /// Before its listeners are closed, a process that is told to end lets another one have the new
    /// connections for this long: handshakes that have begun are ours, and end within a round trip.
    public static let drainSteeringMilliseconds = 100
    /// And for this long where `drain.delay` leaves time: round trips around the world, twice over.
    public static let drainSteeringLimitMilliseconds = 1_000
    /// A connection that was made just before has this long to send its request.
    public static let drainGreetingMilliseconds = 1_000
    /// What is said at the deadline has this long to go out.
    public static let drainFlushMilliseconds = 1_000
}
