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
}
