/* What programs do wrong: handles that are none, freed twice or of another kind, null, texts that are no UTF-8, structs of other
 * versions, threads that mix calls, a file that shrinks while it is open. Errors must come, never a crash. */
#define _DEFAULT_SOURCE
#include "carat.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int failures;

static void want(const char *what, int truth) {
    if (!truth) {
        printf("FAILED %s\n", what);
        failures++;
    }
}

static carat_model *load(const char *path) {
    carat_load_options options;
    memset(&options, 0, sizeof options);
    options.struct_size = sizeof options;
    options.device = "cpu";
    carat_model *model = NULL;
    carat_error *error = NULL;
    if (carat_model_load(path, &options, &model, &error) != CARAT_OK) {
        printf("FAILED load: %s\n", carat_error_message(error));
        exit(1);
    }
    return model;
}

static void handles(const char *path) {
    carat_model *model = load(path), *none = NULL;
    carat_error *error = NULL;
    carat_stream *stream = NULL;
    carat_conversation *talk = NULL;
    want("null model", carat_model_generate(NULL, "a", NULL, &stream, &error) == CARAT_PARAMETER && error && !stream);
    want("its message", strstr(carat_error_message(error), "null") != NULL);
    carat_error_free(error);
    carat_error_free(error);
    carat_error_free(NULL);
    want("an error that is freed", carat_error_message(error) == NULL);
    want("no place for a handle", carat_model_generate(model, "a", NULL, NULL, NULL) == CARAT_PARAMETER);
    want("no prompt", carat_model_generate(model, NULL, NULL, &stream, NULL) == CARAT_PARAMETER);
    want("no path", carat_model_load(NULL, NULL, &none, NULL) == CARAT_PARAMETER);
    want("no UTF-8", carat_model_generate(model, "a\xff\xfe", NULL, &stream, NULL) == CARAT_PARAMETER);
    want("another kind", carat_conversation_free((carat_conversation *)model) == CARAT_PARAMETER);
    want("a number", carat_stream_cancel((carat_stream *)(size_t)12345) == CARAT_PARAMETER);
    want("an address", carat_model_memory_warning((carat_model *)(void *)&model) == CARAT_PARAMETER);
    carat_stream_options options;
    memset(&options, 0, sizeof options);
    want("no size", carat_model_generate(model, "a", &options, &stream, NULL) == CARAT_PARAMETER);
    struct {
        carat_stream_options known;
        long unknown;
    } later;
    memset(&later, 0, sizeof later);
    later.known.struct_size = sizeof later;
    want("a later version that says nothing new",
         carat_model_generate(model, "a", &later.known, &stream, NULL) == CARAT_OK);
    want("freed in the middle", carat_stream_free(stream) == CARAT_OK && carat_stream_free(stream) == CARAT_PARAMETER);
    later.unknown = 1;
    want("a later version that does",
         carat_model_generate(model, "a", &later.known, &stream, NULL) == CARAT_PARAMETER);
    options.struct_size = sizeof(size_t);
    want("an earlier version", carat_model_generate(model, "a", &options, &stream, NULL) == CARAT_OK);
    carat_piece piece;
    piece.struct_size = 3;
    want("a piece without a size", carat_stream_next(stream, &piece, NULL) == CARAT_PARAMETER);
    want("no piece", carat_stream_next(stream, NULL, NULL) == CARAT_PARAMETER);
    want("no function", carat_stream_each(stream, NULL, NULL, NULL) == CARAT_PARAMETER);
    want("no result yet, or one", carat_stream_result(stream, NULL, NULL) == CARAT_PARAMETER);
    want("conversation", carat_conversation_new(model, NULL, &talk, NULL) == CARAT_OK);
    carat_stream *answer = NULL, *second = NULL;
    want("answer", carat_conversation_ask(talk, "a", NULL, &answer, NULL) == CARAT_OK);
    want("one answer at a time", carat_conversation_ask(talk, "b", NULL, &second, NULL) == CARAT_PARAMETER && !second);
    uint32_t id;
    size_t count = 1;
    want("too little room", carat_model_tokenize(model, "many many words", &id, &count, NULL) == CARAT_PARAMETER && count > 1);
    uint32_t wild = 0xffffffff;
    char *text = NULL;
    want("a token that is none", carat_model_detokenize(model, &wild, 1, &text, NULL) == CARAT_PARAMETER && !text);
    carat_string_free((char *)&wild);
    want("closed", carat_model_free(model) == CARAT_OK && carat_model_free(model) == CARAT_PARAMETER);
    want("a conversation of a closed model", carat_conversation_ask(talk, "c", NULL, &second, NULL) == CARAT_ABORTED);
    carat_conversation_free(talk);
    carat_stream_free(answer);
    carat_stream_free(stream);
    want("nothing is left", carat_live_objects() == 0);
}

static carat_model *shared;

static void *mixes(void *seed) {
    unsigned state = (unsigned)(size_t)seed;
    for (int i = 0; i < 40; i++) {
        carat_stream *stream = NULL;
        carat_code code = carat_model_generate(shared, "Once upon a time", NULL, &stream, NULL);
        if (code != CARAT_OK)
            return NULL; /* another thread closed it */
        carat_piece piece;
        piece.struct_size = sizeof piece;
        for (int n = rand_r(&state) % 3; n > 0; n--)
            carat_stream_next(stream, &piece, NULL);
        if (rand_r(&state) % 4 == 0)
            carat_model_memory_warning(shared);
        if (rand_r(&state) % 8 == 0)
            carat_model_enter_background(shared);
        if (rand_r(&state) % 8 == 0)
            carat_model_enter_foreground(shared);
        carat_stream_free(stream);
    }
    return NULL;
}

static void *closes(void *unused) {
    (void)unused;
    usleep(300000);
    carat_model_free(shared);
    return NULL;
}

static void threads(const char *path) {
    for (int round = 0; round < 3; round++) {
        shared = load(path);
        pthread_t all[5];
        for (size_t i = 0; i < 4; i++)
            pthread_create(&all[i], NULL, mixes, (void *)(i + 1));
        pthread_create(&all[4], NULL, closes, NULL);
        for (int i = 0; i < 5; i++)
            pthread_join(all[i], NULL);
        carat_model_free(shared);
    }
    want("nothing is left after threads", carat_live_objects() == 0);
}

static bool stops(void *user, const carat_piece *piece) {
    int *left = (int *)user;
    return piece->text_len > 0 && --*left > 0;
}

static void pushed(const char *path) {
    carat_model *model = load(path);
    carat_stream *stream = NULL;
    int left = 3;
    want("a text", carat_model_generate(model, "Once upon a time", NULL, &stream, NULL) == CARAT_OK);
    want("pushed", carat_stream_each(stream, stops, &left, NULL) == CARAT_OK && left <= 0);
    carat_result result;
    result.struct_size = sizeof result;
    want("its result", carat_stream_result(stream, &result, NULL) == CARAT_OK);
    want("cancelled", !strcmp(result.reason, "cancelled"));
    carat_stream_free(stream);
    carat_model_free(model);
}

/* A copy of the file that is cut while it is open. */
static void shrinks(const char *path) {
    char name[] = "/tmp/carat-shrinks-XXXXXX", buffer[1 << 16];
    int to = mkstemp(name);
    FILE *from = fopen(path, "rb");
    for (size_t n; (n = fread(buffer, 1, sizeof buffer, from)) > 0;)
        if (write(to, buffer, n) != (ssize_t)n)
            exit(1);
    fclose(from);
    carat_model *model = load(name);
    carat_stream *stream = NULL;
    carat_error *error = NULL;
    want("a text", carat_model_generate(model, "Once upon a time", NULL, &stream, NULL) == CARAT_OK);
    carat_piece piece;
    piece.struct_size = sizeof piece;
    carat_stream_next(stream, &piece, NULL);
    carat_model_memory_warning(model); /* pages of the file are no longer in memory */
    want("cut", ftruncate(to, 70000) == 0);
    carat_code code;
    while ((code = carat_stream_next(stream, &piece, &error)) == CARAT_OK) {
    }
    want("a file that shrinks is an error", code == CARAT_HASH);
    carat_error_free(error);
    carat_stream_free(stream);
    carat_model_free(model);
    close(to);
    unlink(name);
}

int main(int argc, char **argv) {
    if (argc != 2)
        return 2;
    handles(argv[1]);
    pushed(argv[1]);
    threads(argv[1]);
    shrinks(argv[1]);
    puts(failures ? "hostile: failed" : "hostile: all as wanted");
    return failures ? 1 : 0;
}
