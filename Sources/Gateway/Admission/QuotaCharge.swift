import Primitives
public import Translation

extension QuotaAmounts {
    /// What a request used. Tokens read from a cache count by their price: at a tenth of a prompt
    /// token's price ten of them are one token (rounded up; one each where no price is known).
    public init(
        _ usage: TokenUsage, costNanodollars: Int64, price: Price?, serviceTier: String?
    ) {
        let input = max(0, usage.input)
        let cached = min(input, max(0, usage.cacheRead))
        let weighted = price?.weighted(cacheRead: cached, of: usage, serviceTier: serviceTier)
        self.init(
            inputTokens: input - cached + (weighted ?? cached), outputTokens: usage.output,
            costNanodollars: costNanodollars)
    }
}

extension Price {
    /// How many prompt tokens cost as much as those that were read from a cache, rounded up.
    func weighted(cacheRead: Int, of usage: TokenUsage, serviceTier: String?) -> Int {
        let figures = figures(for: usage, serviceTier: serviceTier)
        guard let full = figures.input, full > 0, let reduced = figures.cacheRead, reduced >= 0,
            reduced < full
        else { return cacheRead }
        let product = Int128(cacheRead) * Int128(reduced)
        return Int(clamping: (product + Int128(full) - 1) / Int128(full))
    }
}
