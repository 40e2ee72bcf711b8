#include <stdio.h>
#include <string.h>

int mock_main(int count, char **arguments);
int load_main(int count, char **arguments);

// `BenchLoad mock …` answers as backends do; `BenchLoad load …` asks as clients do.
int main(int count, char **arguments) {
    if (count > 1 && strcmp(arguments[1], "mock") == 0) return mock_main(count, arguments);
    if (count > 1 && strcmp(arguments[1], "load") == 0) return load_main(count, arguments);
    fprintf(stderr, "usage: BenchLoad mock|load [options]; mock.c and load.c name them\n");
    return 2;
}
