import Testing

@Suite struct GoldenScriptTests {
    @Test(arguments: GoldenScript.all(in: "Scripts"))
    func script(_ script: GoldenScript) throws {
        var cluster = ScriptedCluster()
        try script.check { command in try cluster.run(command) }
    }

    @Test func scriptsAreFound() { #expect(GoldenScript.all(in: "Scripts").count >= 12) }
}
