// A chat in C: `chat MODEL.gguf`. Build: see README.md.
#include <carat.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void check(carat_code code, carat_error **error) {
    if (code == CARAT_OK)
        return;
    fprintf(stderr, "error: %s\n", carat_error_message(*error));
    carat_error_free(*error);
    exit(1);
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: chat MODEL.gguf\n");
        return 2;
    }
    carat_error *error = NULL;
    carat_model *model = NULL;
    check(carat_model_load(argv[1], NULL, &model, &error), &error);

    carat_conversation *talk = NULL;
    carat_conversation_options options = {
        .struct_size = sizeof options,
        .system = "You are a friendly assistant.",
        .sampling = "{\"temperature\": 0.7, \"maxTokens\": 400}",
    };
    check(carat_conversation_new(model, &options, &talk, &error), &error);

    char line[4096];
    while (fputs("> ", stdout), fflush(stdout), fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = 0;
        carat_stream *stream = NULL;
        check(carat_conversation_ask(talk, line, NULL, &stream, &error), &error);
        carat_piece piece = {.struct_size = sizeof piece};
        carat_code code;
        while ((code = carat_stream_next(stream, &piece, &error)) == CARAT_OK) {
            fputs(piece.text, stdout);
            fflush(stdout);
        }
        carat_stream_free(stream);
        if (code != CARAT_END)
            check(code, &error);
        putchar('\n');
    }
    carat_conversation_free(talk);
    carat_model_free(model);
    return 0;
}
