/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/* Every map, bounded; the agent sets the sizes when it loads them. */
#ifndef LICTOR_MAPS_H
#define LICTOR_MAPS_H
#include "lictor.h"
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define MAP(name, kind, entries, k, v, f)                                                                      \
	struct {                                                                                               \
		__uint(type, kind);                                                                            \
		__uint(max_entries, entries);                                                                  \
		__uint(map_flags, f);                                                                          \
		__type(key, k);                                                                                \
		__type(value, v);                                                                              \
	} name SEC(".maps")

/* Who: links of this node and network namespaces, to endpoints. */
MAP(LINKS, BPF_MAP_TYPE_HASH, 1024, __u32, __u32, BPF_F_NO_PREALLOC);
MAP(NAMESPACES, BPF_MAP_TYPE_HASH, 1024, __u64, __u32, BPF_F_NO_PREALLOC);
MAP(ENDPOINTS, BPF_MAP_TYPE_ARRAY, 1024, __u32, struct endpoint, 0);

/* What the policies say. */
MAP(GATES, BPF_MAP_TYPE_ARRAY, 2048, __u32, __u64, 0);
MAP(PEERS, BPF_MAP_TYPE_HASH, 65536, struct address, struct peer, BPF_F_NO_PREALLOC);
MAP(PREFIXES4, BPF_MAP_TYPE_LPM_TRIE, 16384, struct prefix4, struct classes, BPF_F_NO_PREALLOC);
MAP(PREFIXES6, BPF_MAP_TYPE_LPM_TRIE, 16384, struct prefix6, struct classes, BPF_F_NO_PREALLOC);
MAP(OWN_NODES, BPF_MAP_TYPE_HASH, 16384, struct node_key, __u32, BPF_F_NO_PREALLOC);
MAP(RULES, BPF_MAP_TYPE_HASH, 262144, struct rule_key, struct rule, BPF_F_NO_PREALLOC);
MAP(SPANS, BPF_MAP_TYPE_HASH, 8192, __u32, struct span, BPF_F_NO_PREALLOC);
MAP(BOUNDS, BPF_MAP_TYPE_ARRAY, 65536, __u32, __u32, 0);
MAP(REVISION, BPF_MAP_TYPE_ARRAY, 1, __u32, __u64, 0);

/* What goes on. */
MAP(FLOWS, BPF_MAP_TYPE_LRU_HASH, 65536, struct flow_key, struct flow, 0);
MAP(TOLD, BPF_MAP_TYPE_LRU_HASH, 8192, struct flow_key, struct told, 0);
MAP(FRAGMENTS, BPF_MAP_TYPE_LRU_HASH, 4096, struct fragment_key, __u64, 0);
MAP(COUNTS, BPF_MAP_TYPE_PERCPU_ARRAY, COUNTERS, __u32, __u64, 0);
MAP(SERIALS, BPF_MAP_TYPE_PERCPU_ARRAY, 1, __u32, __u64, 0);
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} EVENTS SEC(".maps");

/* Services, and whom a socket believes to be talking with. */
MAP(SERVICES, BPF_MAP_TYPE_HASH, 16384, struct service_key, struct span, BPF_F_NO_PREALLOC);
MAP(BACKENDS, BPF_MAP_TYPE_ARRAY, 65536, __u32, struct backend, 0);
MAP(SOCKETS, BPF_MAP_TYPE_LRU_HASH, 16384, struct socket_key, struct backend, 0);

static __always_inline void count(__u32 what)
{
	__u64 *counter = bpf_map_lookup_elem(&COUNTS, &what);
	if (counter)
		(*counter)++;
}

static __always_inline int same(const struct address *a, const struct address *b)
{
	return a->word[0] == b->word[0] && a->word[1] == b->word[1] && a->word[2] == b->word[2] &&
	       a->word[3] == b->word[3];
}

static __always_inline void map_ipv4(struct address *address, __be32 ipv4)
{
	address->word[0] = 0;
	address->word[1] = 0;
	address->word[2] = bpf_htonl(0xffff);
	address->word[3] = ipv4;
}

static __always_inline int is_ipv4(const struct address *address)
{
	return !address->word[0] && !address->word[1] && address->word[2] == bpf_htonl(0xffff);
}

#endif
