/* Does what it is told line by line, and prints a line of JSON for each: the same as the drivers of the other languages.
 * `run.py` tells it. Fields are divided by tabs; `\n`, `\t` and `\\` stand for what they are in C. The file is C and C++. */
#include "carat.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_FIELDS = 8, MOST_NAMES = 16 };

static carat_model *model;
static struct {
    char name[32];
    carat_conversation *conversation;
} open_ones[MOST_NAMES];

static void print_text(const char *text, size_t length) {
    putchar('"');
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '"' || c == '\\')
            printf("\\%c", c);
        else if (c < 0x20)
            printf("\\u%04x", c);
        else
            putchar(c);
    }
    putchar('"');
}

/* Prints what went wrong, and frees it. */
/* Takes the place of the error: what a call writes there is read after it. */
static int failed(carat_code code, carat_error **place) {
    carat_error *error = place ? *place : NULL;
    if (code == CARAT_OK)
        return 0;
    if (place)
        *place = NULL;
    const char *message = carat_error_message(error);
    printf("{\"code\":\"%s\",\"message\":", carat_code_name(code));
    print_text(message ? message : "", message ? strlen(message) : 0);
    printf("}\n");
    carat_error_free(error);
    return 1;
}

static void done(carat_code code, carat_error **place) {
    if (!failed(code, place))
        puts("{\"ok\":true}");
}

static carat_conversation **named(const char *name) {
    int free_one = -1;
    for (int i = 0; i < MOST_NAMES; i++) {
        if (!strcmp(open_ones[i].name, name))
            return &open_ones[i].conversation;
        if (!open_ones[i].name[0] && free_one < 0)
            free_one = i;
    }
    if (free_one < 0 || strlen(name) >= sizeof open_ones[0].name) {
        fprintf(stderr, "too many conversations, or too long a name: %s\n", name);
        exit(2);
    }
    strcpy(open_ones[free_one].name, name);
    return &open_ones[free_one].conversation;
}

static const char *given(const char *field) { return field && *field ? field : NULL; }

/* Pulls a text to its end, or cancels it after `cancel` pieces, and prints what came of it. The stream is freed. */
static void pull(carat_stream *stream, int cancel) {
    carat_error *error = NULL;
    carat_piece piece;
    size_t bytes = 0, tokens = 0;
    int pieces = 0;
    carat_code code;
    piece.struct_size = sizeof piece;
    while ((code = carat_stream_next(stream, &piece, &error)) == CARAT_OK) {
        if (piece.kind == CARAT_PIECE_TEXT)
            bytes += piece.text_len;
        tokens += piece.id_count;
        if (++pieces == cancel)
            carat_stream_cancel(stream);
    }
    if (code != CARAT_END) {
        failed(code, &error);
        carat_stream_free(stream);
        return;
    }
    carat_result result;
    result.struct_size = sizeof result;
    if (!failed(carat_stream_result(stream, &result, &error), &error)) {
        if (bytes != result.text_len || tokens > result.id_count) {
            fprintf(stderr, "pieces are not the text: %zu of %zu bytes, %zu of %zu tokens\n", bytes, result.text_len,
                    tokens, result.id_count);
            exit(2);
        }
        puts(result.json);
    }
    carat_stream_free(stream);
}

static unsigned long random_state;

static unsigned long random_below(unsigned long most) {
    random_state = random_state * 6364136223846793005UL + 1442695040888963407UL;
    return (random_state >> 33) % most;
}

/* Texts that are cancelled, closed or left at random places. */
static void random_ends(const char *prompt, int times, carat_stream_options *options) {
    for (int i = 0; i < times; i++) {
        carat_error *error = NULL;
        carat_stream *stream = NULL;
        if (failed(carat_model_generate(model, prompt, options, &stream, &error), &error))
            return;
        carat_piece piece;
        piece.struct_size = sizeof piece;
        for (unsigned long n = random_below(6); n > 0; n--)
            if (carat_stream_next(stream, &piece, NULL) != CARAT_OK)
                break;
        if (random_below(2))
            carat_stream_cancel(stream);
        if (random_below(2))
            while (carat_stream_next(stream, &piece, NULL) == CARAT_OK) {
            }
        carat_stream_free(stream);
    }
    puts("{\"ok\":true}");
}

/* Undoes the escapes of a field in place. */
static void unescape(char *field) {
    char *to = field;
    for (char *from = field; *from; from++) {
        if (*from == '\\' && from[1]) {
            from++;
            *to++ = *from == 'n' ? '\n' : *from == 't' ? '\t' : *from;
        } else {
            *to++ = *from;
        }
    }
    *to = 0;
}

static void act(char **f) {
    carat_error *error = NULL;
    carat_stream *stream = NULL;
    const char *what = f[0];
    carat_stream_options options;
    memset(&options, 0, sizeof options);
    options.struct_size = sizeof options;
    if (!strcmp(what, "load")) { /* PATH DEVICE */
        carat_load_options load;
        memset(&load, 0, sizeof load);
        load.struct_size = sizeof load;
        load.device = given(f[2]);
        done(carat_model_load(f[1], &load, &model, &error), &error);
    } else if (!strcmp(what, "generate")) { /* PROMPT SAMPLING SCHEMA CANCEL */
        options.sampling = given(f[2]);
        options.json_schema = given(f[3]);
        if (!failed(carat_model_generate(model, f[1], &options, &stream, &error), &error))
            pull(stream, atoi(f[4]));
    } else if (!strcmp(what, "open")) { /* NAME SYSTEM TOOLS SAMPLING */
        carat_conversation_options with;
        memset(&with, 0, sizeof with);
        with.struct_size = sizeof with;
        with.system = given(f[2]);
        with.tools = given(f[3]);
        with.sampling = given(f[4]);
        with.date = 1764547200;
        done(carat_conversation_new(model, &with, named(f[1]), &error), &error);
    } else if (!strcmp(what, "ask")) { /* NAME TEXT SCHEMA CHOICE CANCEL */
        options.json_schema = given(f[3]);
        options.tool_choice = given(f[4]);
        if (!failed(carat_conversation_ask(*named(f[1]), f[2], &options, &stream, &error), &error))
            pull(stream, atoi(f[5]));
    } else if (!strcmp(what, "regenerate")) { /* NAME */
        if (!failed(carat_conversation_regenerate(*named(f[1]), &options, &stream, &error), &error))
            pull(stream, 0);
    } else if (!strcmp(what, "results")) { /* NAME RESULTS */
        if (!failed(carat_conversation_answer_calls(*named(f[1]), f[2], &options, &stream, &error), &error))
            pull(stream, 0);
    } else if (!strcmp(what, "undo") || !strcmp(what, "messages")) { /* NAME */
        char *text = NULL;
        carat_code code = what[0] == 'u' ? carat_conversation_undo(*named(f[1]), &text, &error)
                                         : carat_conversation_messages(*named(f[1]), &text, &error);
        if (!failed(code, &error)) {
            printf("{\"text\":");
            print_text(text ? text : "", text ? strlen(text) : 0);
            puts("}");
        }
        carat_string_free(text);
    } else if (!strcmp(what, "save")) { /* NAME PATH */
        done(carat_conversation_save(*named(f[1]), f[2], &error), &error);
    } else if (!strcmp(what, "resume")) { /* NAME PATH SAMPLING */
        carat_conversation_options with;
        memset(&with, 0, sizeof with);
        with.struct_size = sizeof with;
        with.sampling = given(f[3]);
        done(carat_conversation_resume(model, f[2], &with, named(f[1]), &error), &error);
    } else if (!strcmp(what, "close")) { /* NAME */
        carat_conversation **one = named(f[1]);
        done(carat_conversation_free(*one), NULL);
        *one = NULL;
    } else if (!strcmp(what, "tokenize")) { /* TEXT */
        uint32_t ids[1024];
        size_t count = sizeof ids / sizeof *ids;
        if (!failed(carat_model_tokenize(model, f[1], ids, &count, &error), &error)) {
            printf("{\"ids\":[");
            for (size_t i = 0; i < count; i++)
                printf(i ? ",%u" : "%u", ids[i]);
            puts("]}");
        }
    } else if (!strcmp(what, "embed")) { /* TEXT */
        float vector[4096];
        size_t count = sizeof vector / sizeof *vector;
        if (!failed(carat_model_embed(model, f[1], vector, &count, &error), &error)) {
            double sum = 0;
            for (size_t i = 0; i < count; i++)
                sum += (double)vector[i] * vector[i];
            printf("{\"numbers\":%zu,\"length\":%.4f,\"first\":%.6f}\n", count, sum, (double)vector[0]);
        }
    } else if (!strcmp(what, "warn")) {
        done(carat_model_memory_warning(model), NULL);
    } else if (!strcmp(what, "background")) {
        done(carat_model_enter_background(model), NULL);
    } else if (!strcmp(what, "foreground")) {
        done(carat_model_enter_foreground(model), NULL);
    } else if (!strcmp(what, "random")) { /* PROMPT TIMES SAMPLING */
        options.sampling = given(f[3]);
        random_ends(f[1], atoi(f[2]), &options);
    } else if (!strcmp(what, "shut")) { /* PROMPT SAMPLING: closes the model in the middle of a text */
        options.sampling = given(f[2]);
        if (failed(carat_model_generate(model, f[1], &options, &stream, &error), &error))
            return;
        carat_piece piece;
        piece.struct_size = sizeof piece;
        carat_stream_next(stream, &piece, NULL);
        carat_model_free(model);
        carat_stream_free(stream);
        for (int i = 0; i < MOST_NAMES; i++) {
            carat_conversation_free(open_ones[i].conversation);
            open_ones[i].conversation = NULL;
            open_ones[i].name[0] = 0;
        }
        model = NULL;
        printf("{\"live\":%zu}\n", carat_live_objects());
    } else {
        fprintf(stderr, "no such act: %s\n", what);
        exit(2);
    }
}

int main(void) {
    static char line[1 << 16], none[1] = "";
    if (carat_abi_version() < CARAT_ABI_VERSION)
        return 2;
    while (fgets(line, sizeof line, stdin)) {
        char *fields[MOST_FIELDS];
        int n = 0;
        line[strcspn(line, "\n")] = 0;
        for (char *at = line; n < MOST_FIELDS; n++) {
            fields[n] = at;
            at = strchr(at, '\t');
            if (!at) {
                n++;
                break;
            }
            *at++ = 0;
        }
        while (n < MOST_FIELDS)
            fields[n++] = none;
        for (int i = 0; i < MOST_FIELDS; i++)
            if (fields[i] != none)
                unescape(fields[i]);
        act(fields);
        fflush(stdout);
    }
    carat_model_free(model);
    return 0;
}
