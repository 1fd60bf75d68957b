import CairnBSON
import CairnQuery
import Testing

@Suite struct RegexTests {
    private func matches(_ pattern: String, _ text: String, _ options: String = "") throws -> Bool {
        try Filter(parsing: ["a": ["$regex": .text(pattern), "$options": .text(options)]]).matches(["a": .text(text)])
    }

    @Test(arguments: [
        ("abc", "xabcx", "", true), ("^abc", "abcd", "", true), ("^abc", "xabc", "", false), ("c$", "abc\n", "", true),
        ("c\\z", "abc\n", "", false), ("ABC", "xabc", "i", true), ("^b", "a\nb", "m", true), ("^b", "a\nb", "", false),
        ("a.b", "a\nb", "", false), ("a.b", "a\nb", "s", true), ("a b # comment", "ab", "x", true),
        ("[a-c]+d", "xxabcd", "", true), ("[^a-c]", "abc", "", false), ("a{2,3}b", "aab", "", true),
        ("a{2}b", "ab", "", false), ("x{,", "x{,", "", true), ("(foo|bar)+baz", "foobarbaz", "", true),
        ("(a)(b)\\2\\1", "abba", "", true), ("(?<y>a)\\k<y>", "aa", "", true), ("a(?=b)", "ab", "", true),
        ("a(?!b)", "ab", "", false), ("(?<=a)b", "ab", "", true), ("(?<!a)b", "ab", "", false),
        ("\\bcat\\b", "a cat!", "", true), ("\\bcat\\b", "concat", "", false), ("\\d{3}-\\d{4}", "555-1234", "", true),
        ("[[:alpha:]_]+1", "ab_1", "", true), ("[\\w.]+@\\w+", "me.you@x", "", true), ("é", "café", "", true),
        ("É", "café", "i", true), ("^.{4}$", "café", "", true), ("\\p{Lu}", "aBc", "", true), ("\\x41", "A", "", true),
        ("\\Qa.b\\E", "a.b", "", true), ("\\Qa.b\\E", "axb", "", false), ("(?i)abc", "ABC", "", true),
        ("a(?i:b)c", "aBc", "", true), ("a(?i:b)c", "aBC", "", false), ("(?>a+)ab", "aaab", "", false),
        ("a++ab", "aaab", "", false), ("(|a)+b", "aab", "", true), ("a*?b", "aaab", "", true),
        ("(a|ab)(c|bcd)$", "abcd", "", true),
        ("", "", "", true), ("^$", "", "", true), ("[]a]", "]", "", true), ("(?:a|b)*c", "ababc", "", true),
    ])
    func means(pattern: String, text: String, options: String, outcome: Bool) throws {
        #expect(try matches(pattern, text, options) == outcome, "/\(pattern)/\(options) on \(text)")
    }

    @Test func groupsAreReported() throws {
        let found = try evaluate("{'$regexFind': {'input': 'né a-12', 'regex': '([a-z])-(\\\\d+)(x)?'}}")
        #expect(found == .document(json("{'match': 'a-12', 'idx': 3, 'captures': ['a', '12', null]}")))
        let all = try evaluate("{'$regexFindAll': {'input': 'a1b22', 'regex': '[0-9]+'}}")
        #expect(all?.asArray?.count == 2)
        #expect(try evaluate("{'$regexMatch': {'input': 'aBc', 'regex': 'b', 'options': 'i'}}") == true)
    }

    @Test(arguments: ["(a+)+$", "^(([a-z])+.)+[A-Z]([a-z])+$"])
    func catastropheEndsInAnErrorOrAnAnswerSoon(pattern: String) {
        let clock = ContinuousClock()
        let start = clock.now
        _ = try? matches(pattern, String(repeating: "a", count: 60) + "!")
        #expect(clock.now - start < .seconds(20))
    }

    @Test(arguments: ["(", ")", "[a", "a**b(", "*a", "(?<n", "\\", "a{3,2}", "(?P>x)", "[z-a]", "\\8", "(?z)"])
    func nonsenseIsRefused(pattern: String) {
        #expect(code { _ = try Filter(parsing: ["a": ["$regex": .text(pattern)]]) } == ErrorCode(51091), "\(pattern)")
    }

    @Test func deepGroupsAndHugeRepetitionsAreRefused() {
        let deep = String(repeating: "(", count: 20_000) + String(repeating: ")", count: 20_000)
        #expect(code { _ = try Filter(parsing: ["a": ["$regex": .text(deep)]]) } != nil)
        let huge = "((a{1000}){1000}){1000}"
        #expect(code { _ = try Filter(parsing: ["a": ["$regex": .text(huge)]]) } == ErrorCode(51091))
    }
}
