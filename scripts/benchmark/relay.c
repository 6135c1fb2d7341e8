/* What the kernel alone asks for a proxy's work: connections joined in pairs, in C, their bytes received and sent.
 *
 *     relay PORT UPSTREAM
 *
 * It understands nothing and logs nothing. What fills its buffer at once is a long body, and is moved by splice from
 * then on; whatever a side does not take at once waits in the pipe, and the other side is not read meanwhile.
 */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

enum { BUFFER = 1 << 16, PIPE = 1 << 20, ROUND = 512 };

/* What comes from `socket` goes to the other end, through `pipe` if it has one. */
struct end {
    int socket, pipe[2];
    size_t held;
    unsigned watched;
    int finished, gone;
    struct end *other, *next;
};

static int loop;
static char buffer[BUFFER];
static struct end *closed; /* pairs that end with this round: an event for the other end may still come in it */

static void must(int result, const char *what) {
    if (result < 0) {
        perror(what);
        exit(1);
    }
}

static void watch(struct end *end) {
    unsigned wanted = (end->held || end->finished ? 0 : EPOLLIN) | (end->other->held ? EPOLLOUT : 0);
    struct epoll_event event = {.events = wanted, .data.ptr = end};
    if (wanted != end->watched && !end->gone) {
        must(epoll_ctl(loop, EPOLL_CTL_MOD, end->socket, &event), "epoll_ctl");
        end->watched = wanted;
    }
}

static void drop(struct end *end) {
    if (!end->gone) {
        end->gone = end->other->gone = 1;
        end->next = closed;
        closed = end;
    }
}

static void open_pipe(struct end *end) {
    if (end->pipe[0] < 0) {
        must(pipe2(end->pipe, O_NONBLOCK), "pipe2");
        fcntl(end->pipe[0], F_SETPIPE_SZ, PIPE);
    }
}

/* Send what the pipe holds; 0 when it is empty. */
static int empty_pipe(struct end *end) {
    while (end->held) {
        ssize_t sent = splice(end->pipe[0], NULL, end->other->socket, NULL, end->held, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
        if (sent <= 0) {
            if (sent == 0 || errno != EAGAIN) drop(end);
            return 1;
        }
        end->held -= sent;
    }
    return 0;
}

static void finish(struct end *end, ssize_t count) {
    if (count < 0 && errno == EAGAIN) return;
    end->finished = 1;
    if (count < 0 || end->other->finished) drop(end);
    else shutdown(end->other->socket, SHUT_WR);
}

static void relay(struct end *end) {
    ssize_t count;
    while (end->pipe[0] >= 0) {
        if (empty_pipe(end) || end->gone) return;
        count = splice(end->socket, NULL, end->pipe[1], NULL, PIPE, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
        if (count <= 0) {
            finish(end, count);
            return;
        }
        end->held = count;
    }
    count = recv(end->socket, buffer, BUFFER, MSG_DONTWAIT);
    if (count <= 0) {
        finish(end, count);
        return;
    }
    ssize_t sent = send(end->other->socket, buffer, count, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) {
        drop(end);
        return;
    }
    if (sent < 0) sent = 0;
    if (sent < count || count == BUFFER) open_pipe(end);
    if (sent < count) {
        end->held = count - sent;
        must(write(end->pipe[1], buffer + sent, end->held) - (ssize_t)end->held, "write to a pipe");
    }
}

static struct end *add(int socket) {
    int on = 1;
    struct end *end = calloc(1, sizeof *end);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = end};
    must(end ? 0 : -1, "calloc");
    end->socket = socket;
    end->pipe[0] = end->pipe[1] = -1;
    end->watched = EPOLLIN;
    setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(socket, IPPROTO_TCP, TCP_CONGESTION, "reno", 4); /* as the gateway within a machine */
    fcntl(socket, F_SETFL, O_NONBLOCK);
    must(epoll_ctl(loop, EPOLL_CTL_ADD, socket, &event), "epoll_ctl");
    return end;
}

static void accept_one(int listener, struct sockaddr_in *upstream) {
    int client = accept(listener, NULL, NULL);
    if (client < 0) return;
    int server = socket(AF_INET, SOCK_STREAM, 0);
    must(server, "socket");
    must(connect(server, (struct sockaddr *)upstream, sizeof *upstream), "connect to the upstream");
    struct end *one = add(client), *two = add(server);
    one->other = two;
    two->other = one;
}

static void free_closed(void) {
    while (closed) {
        struct end *one = closed, *both[] = {one, one->other};
        closed = one->next;
        for (int i = 0; i < 2; i++) {
            close(both[i]->socket);
            if (both[i]->pipe[0] >= 0) {
                close(both[i]->pipe[0]);
                close(both[i]->pipe[1]);
            }
            free(both[i]);
        }
    }
}

int main(int count, char **words) {
    if (count != 3) {
        fprintf(stderr, "relay PORT UPSTREAM\n");
        return 2;
    }
    int on = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(atoi(words[1]))}, there = here;
    here.sin_addr.s_addr = there.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    there.sin_port = htons(atoi(words[2]));
    struct epoll_event events[ROUND], accepting = {.events = EPOLLIN, .data.ptr = NULL};
    signal(SIGPIPE, SIG_IGN);
    loop = epoll_create1(0);
    must(loop, "epoll_create1");
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    must(bind(listener, (struct sockaddr *)&here, sizeof here), "bind");
    must(listen(listener, 4096), "listen");
    must(epoll_ctl(loop, EPOLL_CTL_ADD, listener, &accepting), "epoll_ctl");
    for (;;) {
        int ready = epoll_wait(loop, events, ROUND, -1);
        for (int i = 0; i < ready; i++) {
            struct end *end = events[i].data.ptr;
            if (!end) {
                accept_one(listener, &there);
                continue;
            }
            if (end->gone) continue;
            if (events[i].events & EPOLLOUT) relay(end->other);
            if (!end->gone && events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) relay(end);
            if (!end->gone) {
                watch(end);
                watch(end->other);
            }
        }
        free_closed();
    }
}
