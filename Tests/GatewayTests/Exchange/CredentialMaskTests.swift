import Primitives
import Testing
import Translation
import Wire

@testable import Gateway

@Suite struct CredentialMaskTests {
    private let mask = CredentialMask(.bearer(Secret("sk-secret")), headers: HeaderFields())

    @Test(arguments: [
        ("sk-secret", "***"), ("a sk-secret", "a ***"), ("sk-secret b", "*** b"),
        ("sk-secretsk-secret", "******"), ("ssk-secret, sk-secre", "s***, sk-secre"),
        ("nothing of it", "nothing of it"), ("", ""),
    ])
    func `a credential is hidden wherever it stands`(_ text: String, _ shown: String) {
        var error = APIError.badRequest("wrong", param: text, text)
        error.verbatimBody = Array(text.utf8)
        let masked = mask.applied(to: error)
        #expect(masked.message == shown)
        #expect(masked.param == shown)
        #expect(masked.verbatimBody == Array(shown.utf8))
    }

    @Test(arguments: [
        ("x-api-key", "platform", true), ("Authorization", "Basic cGxhdGZvcm0=", true),
        ("cookie", "id=platform", true), ("x-team", "platform", false),
        ("x-region", "eu-central-1", false), ("x-team", "0123456789abcdef0123", true),
        ("x-auth", "short", false),
    ])
    func `a configured field is hidden where it may be a credential`(
        _ name: String, _ value: String, _ isHidden: Bool
    ) {
        var headers = HeaderFields()
        headers.append(name: name, value: Array(value.utf8))
        let said = "the \(value) team has no quota"
        let masked = CredentialMask(nil, headers: headers)
            .applied(to: .badRequest("c", param: nil, said))
        #expect((masked.message != said) == isHidden)
    }
}
