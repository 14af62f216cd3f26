/** The one hash interface: node:crypto on the host, C in the initramfs, @noble/hashes as the oracle in tests. */
export interface Hasher {
  /** 32 bytes. */
  sha256(data: Uint8Array): Uint8Array;
  /** 64 bytes: SHA-512 over the concatenation of the parts. */
  sha512(parts: readonly Uint8Array[]): Uint8Array;
}
