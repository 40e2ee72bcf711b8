// swift-tools-version: 6.2
import PackageDescription

/// The release is compiled for what requests do, counted branch by branch: what runs often lies
/// together and is inlined. Benchmarks/request_profile.py has the binary built that counts.
let requestProfile = [
    "-Xfrontend",
    Context.environment["SLUICE_COUNTS_BRANCHES"] == nil
        ? "-ir-profile-use=\(Context.packageDirectory)/Sources/sluice/requests.profdata"
        : "-ir-profile-generate",
    // Functions are known by their names alone, wherever the package lies.
    "-Xllvm", "-static-func-full-module-prefix=false",
    // One that has changed since is compiled as if it had not been counted.
    "-Xllvm", "-no-pgo-warn-mismatch",
]

/// Every floor is compiled alike: Swift 6, strict about memory, and a warning is an error.
let settings: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .strictMemorySafety(),
    .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableExperimentalFeature("Lifetimes"),
    // Overlapping accesses are found by the compiler, and at run time by the Swift tests, which are
    // built without this.
    .unsafeFlags(["-enforce-exclusivity=unchecked"], .when(configuration: .release)),
    // The linker can put each function where it likes: see `releaseLinking`.
    .unsafeFlags(["-Xfrontend", "-function-sections"], .when(configuration: .release)),
    .unsafeFlags(requestProfile, .when(configuration: .release)),
]

/// The functions that requests run through lie side by side: Benchmarks/link_order.py. Nobody links
/// against the binary, so that it shows no symbols; and its 43,000 addresses are packed (DT_RELR,
/// glibc 2.36), which saves a megabyte.
let releaseLinking: [LinkerSetting] = [
    .unsafeFlags(
        [
            "-use-ld=lld",
            "-Xlinker",
            "--symbol-ordering-file=\(Context.packageDirectory)/Sources/sluice/link-order.txt",
            "-Xlinker", "--no-warn-symbol-ordering",
            "-Xlinker", "--no-export-dynamic",
            "-Xlinker", "-z", "-Xlinker", "pack-relative-relocs",
        ], .when(configuration: .release))
]

/// Tests read fixtures with Foundation and so are not held to strict memory safety.
let testSettings: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"),
    .enableExperimentalFeature("Lifetimes"),
]

let package = Package(
    name: "sluice",
    products: [.executable(name: "sluice", targets: ["sluice"])],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
    ],
    targets: [
        // Ground: module maps and one small C target.
        .target(name: "CSys"),
        .target(name: "CPrices", exclude: ["prices.json"]),
        .systemLibrary(name: "COpenSSL", pkgConfig: "openssl", providers: [.apt(["libssl-dev"])]),
        .systemLibrary(
            name: "CNghttp2", pkgConfig: "libnghttp2", providers: [.apt(["libnghttp2-dev"])]),
        .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
        .systemLibrary(
            name: "CSQLite", pkgConfig: "sqlite3", providers: [.apt(["libsqlite3-dev"])]),
        .systemLibrary(name: "CYaml", pkgConfig: "yaml-0.1", providers: [.apt(["libyaml-dev"])]),

        // Floors 1 to 5: imports go down only.
        .target(name: "Primitives", dependencies: ["CSys"], swiftSettings: settings),
        .target(
            name: "Wire", dependencies: ["Primitives", "CSys", "COpenSSL", "CNghttp2", "CZlib"],
            swiftSettings: settings),
        .target(
            name: "Translation", dependencies: ["Wire", "Primitives"], swiftSettings: settings),
        .target(
            name: "Gateway",
            dependencies: ["Translation", "Wire", "Primitives", "CYaml", "CPrices"],
            swiftSettings: settings),
        .target(
            name: "Runtime",
            dependencies: [
                "Gateway", "Translation", "Wire", "Primitives", "CSys", "COpenSSL", "CSQLite",
            ],
            swiftSettings: settings),
        .target(
            name: "Simulator", dependencies: ["Runtime", "Wire", "Primitives", "CSys"],
            swiftSettings: settings),

        // Front door.
        .executableTarget(
            name: "sluice",
            dependencies: [
                "Simulator", "Runtime", "Gateway", "Translation", "Wire", "Primitives",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Logging", package: "swift-log"),
            ],
            exclude: ["link-order.txt", "requests.profdata"],
            swiftSettings: settings,
            linkerSettings: releaseLinking),

        // Tests mirror the floors.
        .target(
            name: "TestSupport", dependencies: ["Wire", "Primitives", "COpenSSL"],
            path: "Tests/TestSupport",
            swiftSettings: testSettings),
        .testTarget(
            name: "PrimitivesTests", dependencies: ["Primitives", "TestSupport"],
            swiftSettings: testSettings),
        .testTarget(
            name: "WireTests", dependencies: ["Wire", "Primitives", "COpenSSL", "TestSupport"],
            swiftSettings: testSettings),
        .testTarget(
            name: "TranslationTests",
            dependencies: ["Translation", "Wire", "Primitives", "TestSupport"],
            swiftSettings: testSettings),
        .testTarget(
            name: "GatewayTests",
            dependencies: ["Gateway", "Translation", "Wire", "Primitives", "TestSupport"],
            swiftSettings: testSettings),
        .testTarget(
            name: "RuntimeTests",
            dependencies: [
                "Runtime", "Gateway", "Translation", "Wire", "Primitives", "TestSupport",
            ],
            swiftSettings: testSettings),
        .testTarget(
            name: "SimulationTests",
            dependencies: [
                "Runtime", "Simulator", "Gateway", "Translation", "Wire", "Primitives",
                "TestSupport",
            ],
            swiftSettings: testSettings),
        .testTarget(name: "TidyTests", swiftSettings: testSettings),

        // What steps of a request cost, and load for the whole: `make bench`, `make thresholds`.
        .target(name: "CBenchmark", path: "Benchmarks/CBenchmark"),
        .executableTarget(
            name: "MicroBenchmarks",
            dependencies: [
                "CBenchmark", "Runtime", "Gateway", "Translation", "Wire", "Primitives",
            ],
            path: "Benchmarks/Micro", swiftSettings: testSettings),
        .executableTarget(name: "BenchLoad", path: "Benchmarks/Load"),

        // What must hold whatever the bytes are: replayed by FuzzTests, driven by `make fuzz`.
        .target(
            name: "FuzzTargets", dependencies: ["Gateway", "Translation", "Wire", "Primitives"],
            path: "Fuzz/Targets", swiftSettings: testSettings),
        .testTarget(
            name: "FuzzTests", dependencies: ["FuzzTargets"], swiftSettings: testSettings),
    ]
)

// The driver links libFuzzer, so only scripts/fuzz.sh asks for it.
if Context.environment["SLUICE_FUZZ"] != nil {
    package.targets += [
        .systemLibrary(name: "CFuzzer", path: "Fuzz/CFuzzer"),
        .executableTarget(
            name: "FuzzDriver", dependencies: ["FuzzTargets", "CFuzzer"], path: "Fuzz/Driver",
            swiftSettings: testSettings),
    ]
}
