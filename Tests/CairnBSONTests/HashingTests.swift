import CairnBSON
import Testing

struct HashingTests {
    /// Vectors made with the reference implementation.
    @Test func xxHashIsThatOfTheReference() {
        #expect(XXH64.hash([UInt8]()) == 0xEF46_DB37_51D8_E999)
        #expect(XXH64.hash(Array("a".utf8)) == 0xD24E_C4F1_A98C_6E5B)
        #expect(XXH64.hash(Array("abc".utf8)) == 0x44BC_2CF5_AD77_0999)
        #expect(XXH64.hash(Array("xxhash".utf8), seed: 0) == 0x32DD_3895_2C4B_C720)
        #expect(XXH64.hash(Array("xxhash".utf8), seed: 20_141_025) == 0xB559_B98D_844E_0635)
        let long = Array("Call me Ishmael. Some years ago--never mind how long precisely-".utf8)
        #expect(XXH64.hash(long) == 0x02A2_E854_70D6_FD96)
        #expect(XXH64.hash(([1] + long)[1...]) == 0x02A2_E854_70D6_FD96)
    }
}
