package example.seal;

import static org.junit.jupiter.api.Assertions.assertEquals;

import org.junit.jupiter.api.Test;

class SealTest {
    @Test
    void aTextHasOneSeal() {
        assertEquals("06363555054de198", Seal.of("clay").seal());
    }
}
