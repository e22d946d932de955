/* The same dialogue by hand in C and OpenSSL: what a probe costs at least, and how exactly it can be timed. See probes.py.

   probe PORT CA_FILE COUNT < RESPONSE       RESPONSE: what answers the 334 of AUTH XOAUTH2, in base64, one line
   prints the seconds of CPU that COUNT probes took, without the start of the program

   probe PORT CA_FILE COUNT RATE < RESPONSES one line for each mailbox, taken in turns
   begins RATE probes a second, each in a thread of its own, and prints for each one how many seconds AUTH took (from the
   command to the 235) and the whole probe */

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { LINE = 65536 };
static _Thread_local char reply[LINE];
static int port, responses;
static char **response;
static SSL_CTX *context;

typedef struct {
    pthread_t thread;
    const char *response;
    double auth, whole;
} Probe;

static double seconds(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return now.tv_sec + now.tv_nsec / 1e9;
}

static void fail(const char *where) {
    fprintf(stderr, "probe: %s: %s\n", where, reply);
    exit(1);
}

/* Send a command, if any, and read one reply to its last line, which must begin with `code`. */
static void say(int sock, SSL *tls, const char *command, const char *code) {
    size_t length = strlen(command), got = 0, line = 0;
    if (length && (tls ? SSL_write(tls, command, length) : write(sock, command, length)) <= 0) fail("write");
    for (;;) {
        char *room = reply + got;
        int more = tls ? SSL_read(tls, room, sizeof reply - 1 - got) : read(sock, room, sizeof reply - 1 - got);
        if (more <= 0) fail("read");
        got += more;
        reply[got] = 0;
        for (char *end; (end = strchr(reply + line, '\n')); line = end - reply + 1) {
            if (reply[line + 3] != '-') {
                if (strncmp(reply + line, code, 3)) fail("unexpected reply");
                return;
            }
        }
    }
}

static void *probe(void *given) {
    Probe *mine = given;
    double begun = seconds(CLOCK_MONOTONIC);
    struct sockaddr_in there = {.sin_family = AF_INET, .sin_port = htons(port)};
    there.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int sock = socket(AF_INET, SOCK_STREAM, IPPROTO_TCP), on = 1;
    setsockopt(sock, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(sock, (struct sockaddr *)&there, sizeof there)) fail("connect");
    say(sock, NULL, "", "220");
    say(sock, NULL, "EHLO bench.example\r\n", "250");
    say(sock, NULL, "STARTTLS\r\n", "220");
    SSL *tls = SSL_new(context);
    SSL_set_tlsext_host_name(tls, "localhost");
    SSL_set1_host(tls, "localhost");
    SSL_set_fd(tls, sock);
    if (SSL_connect(tls) != 1) fail("handshake");
    say(sock, tls, "EHLO bench.example\r\n", "250");
    double asked = seconds(CLOCK_MONOTONIC);
    say(sock, tls, "AUTH XOAUTH2\r\n", "334");
    say(sock, tls, mine->response, "235");
    mine->auth = seconds(CLOCK_MONOTONIC) - asked;
    say(sock, tls, "QUIT\r\n", "221");
    mine->whole = seconds(CLOCK_MONOTONIC) - begun;
    SSL_free(tls);
    close(sock);
    return NULL;
}

static void read_responses(void) {
    static char line[LINE];
    while (fgets(line, sizeof line - 2, stdin)) {
        strcpy(line + strcspn(line, "\r\n"), "\r\n");
        response = realloc(response, (responses + 1) * sizeof *response);
        response[responses++] = strdup(line);
    }
}

static void pace(Probe *probes, int count, double rate) {
    double begin = seconds(CLOCK_MONOTONIC);
    for (int number = 0; number < count; number++) {
        double due = begin + number / rate;
        struct timespec moment = {.tv_sec = due, .tv_nsec = (due - (long)due) * 1e9};
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &moment, NULL);
        if (pthread_create(&probes[number].thread, NULL, probe, &probes[number])) fail("thread");
    }
    for (int number = 0; number < count; number++) pthread_join(probes[number].thread, NULL);
    for (int number = 0; number < count; number++) printf("%.6f %.6f\n", probes[number].auth, probes[number].whole);
}

int main(int argc, char **argv) {
    read_responses();
    if (argc < 4 || argc > 5 || !responses) return 2;
    port = atoi(argv[1]);
    context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    if (SSL_CTX_load_verify_locations(context, argv[2], NULL) != 1) fail("CA file");
    int count = atoi(argv[3]);
    Probe *probes = calloc(count, sizeof *probes);
    for (int number = 0; number < count; number++) probes[number].response = response[number % responses];
    if (argc == 5) {
        pace(probes, count, atof(argv[4]));
        return 0;
    }
    double before = seconds(CLOCK_PROCESS_CPUTIME_ID);
    for (int number = 0; number < count; number++) probe(&probes[number]);
    printf("%.6f\n", seconds(CLOCK_PROCESS_CPUTIME_ID) - before);
    return 0;
}
