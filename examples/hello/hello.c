#include <stdio.h>

int main(void) {
    puts("Hello from a sealed build.");
    return 0;
}
