/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/* What the agent is told: one event for each connection that is judged, one when it closes. */
#ifndef LICTOR_EVENT_H
#define LICTOR_EVENT_H
#include "judge.h"
#include "parse.h"

#define SECOND 1000000000ull
/* One attempt is told once: a SYN and its repetitions, or whatever else comes again in a few seconds. */
#define SAME_SYN (120 * SECOND)
#define SAME_DENIAL (5 * SECOND)

/* What is to be told about a flow. */
struct report {
	__u64 flow, sent, received;
	struct judgement egress, ingress;
	__u8 kind, flags;
	__u8 direction; /* EGRESS: the endpoint opened it */
	__u8 pad[5];
};

__noinline int tell(struct packet *packet, struct endpoint *own, struct report *report)
{
	if (!packet || !own || !report)
		return 0;
	__u32 own_flag = EVENT_DESTINATION_ENROLLED, peer_flag = EVENT_SOURCE_ENROLLED, zero = 0;
	struct peer *peer = bpf_map_lookup_elem(&PEERS, &packet->key.peer);
	__u64 *revision = bpf_map_lookup_elem(&REVISION, &zero);
	struct event *event = bpf_ringbuf_reserve(&EVENTS, sizeof(*event), 0);
	if (!event) {
		count(COUNT_EVENTS_LOST);
		return 0;
	}
	event->at = bpf_ktime_get_ns();
	event->flow = report->flow;
	event->revision = revision ? *revision : 0;
	event->sent = report->sent;
	event->received = report->received;
	event->kind = report->kind;
	event->protocol = packet->key.protocol;
	event->flags = report->flags;
	event->pad = 0;
	event->egress = report->egress;
	event->ingress = report->ingress;
	if (report->direction == EGRESS) {
		own_flag = EVENT_SOURCE_ENROLLED;
		peer_flag = EVENT_DESTINATION_ENROLLED;
		event->source = packet->own;
		event->destination = packet->key.peer;
		event->source_port = packet->key.own_port;
		event->destination_port = packet->key.peer_port;
	} else {
		event->source = packet->key.peer;
		event->destination = packet->own;
		event->source_port = packet->key.peer_port;
		event->destination_port = packet->key.own_port;
	}
	if (own->flags & ENDPOINT_ENROLLED)
		event->flags |= own_flag;
	if (peer && peer->flags & PEER_ENROLLED)
		event->flags |= peer_flag;
	bpf_ringbuf_submit(event, 0);
	return 1;
}

/* Whether a drop is worth telling: it has not just been told. */
__noinline int is_news(struct packet *packet)
{
	if (!packet)
		return 0;
	__u64 now = bpf_ktime_get_ns();
	int opening = packet->key.protocol == PROTO_TCP && packet->opens;
	struct told *before = bpf_map_lookup_elem(&TOLD, &packet->key);
	if (before) {
		__u64 ago = now - before->at;
		if (opening ? before->sequence == packet->sequence && ago < SAME_SYN : ago < SAME_DENIAL)
			return 0;
	}
	struct told told = { .at = now, .sequence = packet->sequence };
	bpf_map_update_elem(&TOLD, &packet->key, &told, BPF_ANY);
	return 1;
}

#endif
