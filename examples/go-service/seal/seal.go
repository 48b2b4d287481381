// Package seal impresses texts.
package seal

import (
	"crypto/sha256"
	"encoding/hex"
)

// Of gives the first 16 digits of a text's SHA-256.
func Of(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:8])
}
