/* Says for which processor it was compiled, and computes a checksum with a library of that processor. */
#include <stdio.h>
#include <string.h>
#include <zlib.h>

#if defined(__aarch64__)
#define PROCESSOR "arm64"
#elif defined(__x86_64__)
#define PROCESSOR "amd64"
#else
#error "another processor than those of bulla.yaml"
#endif

int main(void)
{
    const char text[] = "one spec for two processors";
    unsigned long sum = crc32(0L, (const Bytef *)text, (uInt)strlen(text));
    printf("%s: %08lx with zlib %s\n", PROCESSOR, sum, zlibVersion());
    return 0;
}
