/* The same dialogue by hand in C and OpenSSL: what a probe costs at least. See clients.py.

   probe PORT CA_FILE COUNT < RESPONSE       RESPONSE: what answers the 334 of AUTH XOAUTH2, in base64, one line
   prints the seconds of CPU that COUNT probes took, without the start of the program */

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static char reply[65536], response[65536];

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

static void probe(int port, SSL_CTX *context) {
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
    say(sock, tls, "AUTH XOAUTH2\r\n", "334");
    say(sock, tls, response, "235");
    say(sock, tls, "QUIT\r\n", "221");
    SSL_free(tls);
    close(sock);
}

static double cpu(void) {
    struct timespec spent;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &spent);
    return spent.tv_sec + spent.tv_nsec / 1e9;
}

int main(int argc, char **argv) {
    if (argc != 4 || !fgets(response, sizeof response - 2, stdin)) return 2;
    strcpy(response + strcspn(response, "\r\n"), "\r\n");
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    if (SSL_CTX_load_verify_locations(context, argv[2], NULL) != 1) fail("CA file");
    double before = cpu();
    for (int left = atoi(argv[3]); left > 0; left--) probe(atoi(argv[1]), context);
    printf("%.6f\n", cpu() - before);
    return 0;
}
