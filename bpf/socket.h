/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/* Services at the socket: a pod that speaks to a service's address speaks to one of its backends, so packets
 * carry the addresses that policies are about. And the verdict of a captured connection before it is captured. */
#ifndef LICTOR_SOCKET_H
#define LICTOR_SOCKET_H
#include "judge.h"

/* Picks a backend. 1: `to` is it now. 0: no service has this address. -1: the service has no backend. */
static __always_inline int translate(struct backend *to, __u8 protocol)
{
	struct service_key key = { .address = to->address, .port = to->port, .protocol = protocol };
	struct span *span = bpf_map_lookup_elem(&SERVICES, &key);
	if (!span)
		return 0;
	if (!span->count)
		return -1;
	__u32 at = span->first + bpf_get_prandom_u32() % span->count;
	struct backend *backend = bpf_map_lookup_elem(&BACKENDS, &at);
	if (!backend)
		return -1;
	*to = *backend;
	return 1;
}

/* Remembers which service a socket reached a backend by. */
static __always_inline void remember(struct bpf_sock_addr *ctx, const struct backend *service,
				     const struct backend *backend)
{
	struct socket_key key = { .cookie = bpf_get_socket_cookie(ctx), .backend = *backend };
	bpf_map_update_elem(&SOCKETS, &key, service, BPF_ANY);
}

static __always_inline struct backend *recall(struct bpf_sock_addr *ctx, const struct backend *backend)
{
	struct socket_key key = { .cookie = bpf_get_socket_cookie(ctx), .backend = *backend };
	return bpf_map_lookup_elem(&SOCKETS, &key);
}

/* Whether the policies refuse a connection of the pod in this network namespace to `to`. */
static __always_inline int refuses(struct bpf_sock_addr *ctx, const struct backend *to)
{
	__u64 cookie = bpf_get_netns_cookie(ctx);
	__u32 *endpoint = bpf_map_lookup_elem(&NAMESPACES, &cookie);
	if (!endpoint)
		return 0;
	__u32 slot = *endpoint;
	struct endpoint *own = bpf_map_lookup_elem(&ENDPOINTS, &slot);
	if (!own || !(own->flags & ENDPOINT_ENROLLED) || !(own->flags & ENDPOINT_ACTIVE))
		return 0;
	/* Its own address of the same family is what the other end will see. */
	struct address source = {};
	int found = 0, ipv4 = is_ipv4(&to->address);
	for (int i = 0; i < ENDPOINT_ADDRESSES; i++) {
		if (i >= own->count)
			break;
		if (same(&own->addresses[i], &to->address))
			return 0;
		if (!found && is_ipv4(&own->addresses[i]) == ipv4) {
			source = own->addresses[i];
			found = 1;
		}
	}
	struct address peer_address = to->address;
	if (denies(judge(slot, EGRESS, &peer_address, PROTO_TCP, to->port)))
		return 1;
	struct peer *peer = bpf_map_lookup_elem(&PEERS, &peer_address);
	if (!found || !peer || peer->endpoint == NONE)
		return 0;
	return denies(judge(peer->endpoint, INGRESS, &source, PROTO_TCP, to->port));
}

/* A connection that the policies refuse is not captured: its packets go out and are dropped like any other,
 * so the application sees silence and not a connection that opens and breaks. */
static __always_inline void mark(struct bpf_sock_addr *ctx, const struct backend *to)
{
	__u32 value = REFUSED_MARK;
	if (refuses(ctx, to)) {
		bpf_setsockopt(ctx, SOL_SOCKET, SO_MARK, &value, sizeof(value));
		return;
	}
	/* A socket that was refused once may be let through on its next attempt. */
	__u32 present = 0;
	if (bpf_getsockopt(ctx, SOL_SOCKET, SO_MARK, &present, sizeof(present)) == 0 && present == REFUSED_MARK) {
		value = 0;
		bpf_setsockopt(ctx, SOL_SOCKET, SO_MARK, &value, sizeof(value));
	}
}

/* Translates where a socket sends to. Whether it may. */
static __always_inline int send(struct bpf_sock_addr *ctx, struct backend *to, __u8 protocol, int connects)
{
	struct backend service = *to;
	int translated = translate(to, protocol);
	if (translated < 0) {
		bpf_set_retval(-ECONNREFUSED);
		return 0;
	}
	if (translated)
		remember(ctx, &service, to);
	if (connects && protocol == PROTO_TCP)
		mark(ctx, to);
	return 1;
}

static __always_inline void read4(struct bpf_sock_addr *ctx, struct backend *into)
{
	map_ipv4(&into->address, ctx->user_ip4);
	into->port = bpf_ntohs((__u16)ctx->user_port);
	into->pad = 0;
}

static __always_inline void write4(struct bpf_sock_addr *ctx, const struct backend *from)
{
	ctx->user_ip4 = from->address.word[3];
	ctx->user_port = bpf_htons(from->port);
}

static __always_inline void read6(struct bpf_sock_addr *ctx, struct backend *into)
{
	into->address.word[0] = ctx->user_ip6[0];
	into->address.word[1] = ctx->user_ip6[1];
	into->address.word[2] = ctx->user_ip6[2];
	into->address.word[3] = ctx->user_ip6[3];
	into->port = bpf_ntohs((__u16)ctx->user_port);
	into->pad = 0;
}

static __always_inline void write6(struct bpf_sock_addr *ctx, const struct backend *from)
{
	ctx->user_ip6[0] = from->address.word[0];
	ctx->user_ip6[1] = from->address.word[1];
	ctx->user_ip6[2] = from->address.word[2];
	ctx->user_ip6[3] = from->address.word[3];
	ctx->user_port = bpf_htons(from->port);
}

#define SENDS(family, hook, connects)                                                                          \
	SEC("cgroup/" #hook #family)                                                                           \
	int lictor_##hook##family(struct bpf_sock_addr *ctx)                                                   \
	{                                                                                                      \
		struct backend to;                                                                             \
		__u8 protocol = (connects) ? ctx->protocol : PROTO_UDP;                                        \
		read##family(ctx, &to);                                                                        \
		if (!send(ctx, &to, protocol, connects))                                                       \
			return 0;                                                                              \
		write##family(ctx, &to);                                                                       \
		return 1;                                                                                      \
	}

/* Shows the service where the backend would be shown: the sender of a datagram, the peer of a socket. */
#define SHOWS(family, hook)                                                                                    \
	SEC("cgroup/" #hook #family)                                                                           \
	int lictor_##hook##family(struct bpf_sock_addr *ctx)                                                   \
	{                                                                                                      \
		struct backend from;                                                                           \
		read##family(ctx, &from);                                                                      \
		struct backend *service = recall(ctx, &from);                                                  \
		if (service)                                                                                   \
			write##family(ctx, service);                                                           \
		return 1;                                                                                      \
	}

SENDS(4, connect, 1)
SENDS(6, connect, 1)
SENDS(4, sendmsg, 0)
SENDS(6, sendmsg, 0)
SHOWS(4, recvmsg)
SHOWS(6, recvmsg)
SHOWS(4, getpeername)
SHOWS(6, getpeername)

#endif
