/*
 * Holds each packet for half the round-trip time of its path, for kernels without netem: reads packets from one TUN
 * device and writes them to another. Packets stay as large as the sender's kernel made them (GSO), so that delaying
 * costs two copies and two system calls for tens of kilobytes. Nothing is dropped but what does not fit into memory, and
 * as many of a million packets as it is told; then packets come as they are on the wire, so that each is one loss.
 *
 *   delay-line IN OUT SAME_ZONE_US OTHER_ZONE_US LOST_OF_A_MILLION
 *
 * The zone of an address is its third byte; 200 (the services) counts as zone 0. Writes "ready" when both devices exist.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

enum { RING_BYTES = 128 << 20, MOST_PACKET = 68 << 10, VIRTIO_HEADER = 10, BATCH = 512, SERVICES = 200 };

/* While there is traffic it looks this often: to be woken by each packet would cost several times the CPU. */
enum { TICK_NS = 150 * 1000 };

struct held { int64_t due_ns; size_t bytes; };

/* First in, first out: every packet of a queue is held equally long. */
struct queue { uint8_t *ring; size_t head, tail, wrap; int64_t hold_ns; };

static int64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static int open_tun(const char *name, unsigned offload) {
  struct ifreq request = {0};
  int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK);
  request.ifr_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR;
  strncpy(request.ifr_name, name, IFNAMSIZ - 1);
  if (fd < 0 || ioctl(fd, TUNSETIFF, &request) < 0 || ioctl(fd, TUNSETOFFLOAD, offload) < 0) {
    perror(name);
    exit(1);
  }
  return fd;
}

static int zone_of(const uint8_t *address) { return address[2] == SERVICES ? 0 : address[2]; }

/* Room for one more packet at the tail, or NULL when memory is used up. */
static struct held *room(struct queue *q) {
  const size_t needed = sizeof(struct held) + MOST_PACKET;
  if (q->tail >= q->head) {
    if (q->tail + needed <= RING_BYTES) return (struct held *)(q->ring + q->tail);
    if (q->head <= needed) return NULL;
    q->wrap = q->tail;
    q->tail = 0;
  }
  return q->tail + needed < q->head ? (struct held *)(q->ring + q->tail) : NULL;
}

static struct held *oldest(struct queue *q) {
  if (q->head == q->wrap && q->tail < q->head) { q->head = 0; q->wrap = RING_BYTES; }
  if (q->head != q->tail) return (struct held *)(q->ring + q->head);
  q->head = q->tail = 0; /* Empty: its first pages are still in the CPU's cache. */
  q->wrap = RING_BYTES;
  return NULL;
}

static size_t record_bytes(size_t bytes) { return (sizeof(struct held) + bytes + 15) & ~(size_t)15; }

int main(int argc, char **argv) {
  static uint8_t packet[MOST_PACKET];
  struct queue queues[2] = {0};
  if (argc != 6) { fprintf(stderr, "usage: delay-line IN OUT SAME_ZONE_US OTHER_ZONE_US LOST_OF_A_MILLION\n"); return 2; }
  const long lost = atol(argv[5]);
  const unsigned offload = lost > 0 ? TUN_F_CSUM : TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  prctl(PR_SET_TIMERSLACK, 1000UL);
  /* Before everything that it delays: a link does not wait for a core. Without the right to it, as it comes. */
  const struct sched_param first = { .sched_priority = 1 };
  sched_setscheduler(0, SCHED_FIFO, &first);
  const int in = open_tun(argv[1], offload), out = open_tun(argv[2], offload);
  for (int i = 0; i < 2; i++) {
    queues[i].ring = malloc(RING_BYTES);
    if (queues[i].ring == NULL) { perror("malloc"); return 1; }
    queues[i].wrap = RING_BYTES;
    /* A packet waits half a tick on average before it is read, and again before it is seen to be due. */
    queues[i].hold_ns = atoll(argv[3 + i]) * 1000 - TICK_NS;
  }
  puts("ready");
  fflush(stdout);
  for (;;) {
    int is_empty = 1;
    for (int i = 0; i < 2; i++) {
      struct held *held;
      while ((held = oldest(&queues[i])) != NULL && held->due_ns <= now_ns()) {
        if (write(out, held + 1, held->bytes) < 0 && errno == EAGAIN) break;
        queues[i].head += record_bytes(held->bytes);
      }
      if (held != NULL) is_empty = 0;
    }
    if (is_empty) {
      struct pollfd readable = { .fd = in, .events = POLLIN };
      if (poll(&readable, 1, -1) <= 0) continue;
    } else {
      const struct timespec tick = { 0, TICK_NS };
      nanosleep(&tick, NULL);
    }
    for (int i = 0; i < BATCH; i++) {
      const ssize_t bytes = read(in, packet, sizeof packet);
      if (bytes < 0) break;
      const uint8_t *ip = packet + VIRTIO_HEADER;
      if (bytes < VIRTIO_HEADER + 20 || ip[0] >> 4 != 4) continue;
      if (lost > 0 && random() % 1000000 < lost) continue;
      struct queue *q = &queues[zone_of(ip + 12) != zone_of(ip + 16)];
      struct held *held = room(q);
      if (held == NULL) continue;
      held->due_ns = now_ns() + q->hold_ns;
      held->bytes = (size_t)bytes;
      memcpy(held + 1, packet, (size_t)bytes);
      q->tail += record_bytes(held->bytes);
    }
  }
}
