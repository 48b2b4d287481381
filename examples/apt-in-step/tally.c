/* Counts how often each seal stands in a list of JSON: [{"seal": "lion"}, {"seal": "bull"}]. */
#include <jansson.h>
#include <stdio.h>

int main(int argc, char **argv) {
    json_error_t error;
    json_t *list = argc > 1 ? json_loads(argv[1], 0, &error) : json_loadf(stdin, 0, &error);
    json_t *counts = json_object(), *entry;
    size_t at;
    if (!json_is_array(list)) {
        fprintf(stderr, "this is no list of JSON: %s\n", list ? "something else" : error.text);
        return 1;
    }
    json_array_foreach(list, at, entry) {
        const char *seal = json_string_value(json_object_get(entry, "seal"));
        if (seal)
            json_object_set_new(counts, seal, json_integer(json_integer_value(json_object_get(counts, seal)) + 1));
    }
    json_dumpf(counts, stdout, JSON_COMPACT | JSON_SORT_KEYS);
    putchar('\n');
    return 0;
}
