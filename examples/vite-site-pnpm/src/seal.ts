/** Gives eight hexadecimal digits for a text (FNV-1a, 32 bits, over its UTF-8). */
export function seal(text: string): string {
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(text)) {
    hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  }
  return hash.toString(16).padStart(8, "0");
}
