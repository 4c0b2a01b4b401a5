/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/* Connections: the first packet is judged, the others follow it until the policies change. */
#ifndef LICTOR_TRACK_H
#define LICTOR_TRACK_H
#include "event.h"

/* How long nothing may be seen of a flow; the agent's sweep has the same numbers. */
#define IDLE_OPENING (60 * SECOND)
#define IDLE_ASSURED (432000 * SECOND) /* as Linux' own tracking */
#define IDLE_CLOSED (10 * SECOND)
#define IDLE_OTHER (60 * SECOND)

static __always_inline int is_idle(struct flow *flow, __u8 protocol, __u64 now)
{
	__u64 limit = IDLE_OTHER;
	if (flow->state & FLOW_ENDED)
		limit = IDLE_OTHER;
	else if (protocol == PROTO_TCP)
		limit = flow->state & FLOW_CLOSED ? IDLE_CLOSED
						  : (flow->state & FLOW_ASSURED ? IDLE_ASSURED : IDLE_OPENING);
	/* Another processor's clock may be a little ahead. */
	return now > flow->seen && now - flow->seen > limit;
}

static __always_inline __u64 gate_of(__u32 endpoint, __u32 direction)
{
	__u32 slot = endpoint * 2 + direction;
	__u64 *gate = bpf_map_lookup_elem(&GATES, &slot);
	return gate ? *(volatile __u64 *)gate : 0;
}

static __always_inline __u64 new_serial(void)
{
	__u32 zero = 0;
	__u64 *serial = bpf_map_lookup_elem(&SERIALS, &zero);
	if (!serial)
		return 0;
	return (__u64)bpf_get_smp_processor_id() << 48 | ++*serial;
}

/* Judges the flow that this packet is of, as `direction` of the endpoint; and of two enrolled pods, that they
 * speak through the tunnel. A plaintext connection that the destination's policies refuse is told as that,
 * here, since nothing of it goes there. */
__noinline __u64 decide(struct packet *packet, struct endpoint *own, __u32 direction,
			       struct report *report)
{
	if (!packet || !own || !report)
		return judgement(0, UNKNOWN, 0, ENFORCE);
	__u16 port = direction == EGRESS ? packet->key.peer_port : packet->key.own_port;
	__u8 protocol = packet->key.protocol;
	struct judgement *layer = direction == EGRESS ? &report->egress : &report->ingress;
	struct peer *peer = 0;
	__u64 word;
	if (protocol == PROTO_TCP && own->flags & ENDPOINT_ENROLLED) {
		peer = bpf_map_lookup_elem(&PEERS, &packet->key.peer);
		if (peer && !(peer->flags & PEER_ENROLLED))
			peer = 0;
	}
	if (peer && port == TUNNEL_PORT && own->flags & ENDPOINT_ACTIVE) {
		word = judgement(0, TUNNEL, 1, ENFORCE);
		unpack(layer, word);
		return word;
	}
	if (protocol == PROTO_ICMP || protocol == PROTO_ICMPV6)
		port = packet->asks;
	word = judge(packet->key.endpoint, direction, &packet->key.peer, protocol, port);
	unpack(layer, word);
	if (!peer || denies(word))
		return word;
	if (direction == EGRESS && peer->endpoint != NONE) {
		word = judge(peer->endpoint, INGRESS, &packet->own, protocol, port);
		if (denies(word)) {
			unpack(&report->ingress, word);
			return word;
		}
	}
	word = judgement(0, PLAINTEXT, 0, ENFORCE);
	unpack(layer, word);
	return word;
}

/* The entry of the pod that opened this flow, if it is at a link of this node. */
static __always_inline struct flow *opener(struct packet *packet)
{
	struct peer *peer = bpf_map_lookup_elem(&PEERS, &packet->key.peer);
	if (!peer || peer->endpoint == NONE)
		return 0;
	struct flow_key key = {
		.peer = packet->own,
		.endpoint = peer->endpoint,
		.peer_port = packet->key.own_port,
		.own_port = packet->key.peer_port,
		.protocol = packet->key.protocol,
		.index = peer->index,
		.kind = packet->key.kind,
	};
	struct flow *flow = bpf_map_lookup_elem(&FLOWS, &key);
	return flow && flow->direction == EGRESS ? flow : 0;
}

/* Whether the agent hears of this flow from its destination's link. */
static __always_inline int is_local(struct packet *packet)
{
	struct peer *peer = bpf_map_lookup_elem(&PEERS, &packet->key.peer);
	return peer && peer->endpoint != NONE;
}

__noinline int begin(struct packet *packet, struct endpoint *own)
{
	if (!packet || !own)
		return TCX_DROP;
	int isolated = GATE_SET(gate_of(packet->key.endpoint, INGRESS)) ||
		       GATE_SET(gate_of(packet->key.endpoint, EGRESS));
	if (packet->key.protocol == PROTO_TCP && !packet->opens) {
		if (!isolated && own->flags & ENDPOINT_ACTIVE && !(own->flags & ENDPOINT_ENROLLED))
			return TCX_NEXT;
		count(UNTRACKED);
		return TCX_DROP;
	}
	__u32 generation = GATE_GENERATION(gate_of(packet->key.endpoint, packet->direction));
	struct report report = { .kind = EVENT_JUDGED, .direction = packet->direction };
	if (packet->direction == INGRESS) {
		struct flow *there = opener(packet);
		if (there) {
			report.egress = there->judgement;
			report.flow = there->id;
		}
	}
	/* An answer to nothing is judged as what it is. */
	packet->asks = packet->type;
	__u64 word = decide(packet, own, packet->direction, &report);
	if (denies(word)) {
		count(reason_of(word));
		report.flow = 0;
		if (is_news(packet))
			tell(packet, own, &report);
		return TCX_DROP;
	}
	if (!report.flow)
		report.flow = new_serial();
	__u64 now = bpf_ktime_get_ns();
	struct flow flow = {
		.id = report.flow,
		.opened = now,
		.seen = now,
		.sent = packet->payload,
		.generation = generation,
		.direction = packet->direction,
	};
	unpack(&flow.judgement, word);
	if (reason_of(word) == TUNNEL || (packet->direction == EGRESS && is_local(packet)))
		flow.state = FLOW_QUIET;
	if (bpf_map_update_elem(&FLOWS, &packet->key, &flow, BPF_ANY)) {
		count(FULL);
		if (!isolated)
			return TCX_NEXT;
		unpack(packet->direction == EGRESS ? &report.egress : &report.ingress,
		       judgement(0, FULL, 0, ENFORCE));
		report.flow = 0;
		if (is_news(packet))
			tell(packet, own, &report);
		return TCX_DROP;
	}
	if (!(flow.state & FLOW_QUIET))
		tell(packet, own, &report);
	return TCX_NEXT;
}

__noinline int close(struct packet *packet, struct endpoint *own, struct flow *flow, struct report *report)
{
	if (!packet || !own || !flow || !report)
		return 0;
	report->kind = EVENT_CLOSED;
	report->direction = flow->direction;
	report->flow = flow->id;
	report->sent = flow->sent;
	report->received = flow->received;
	return tell(packet, own, report);
}

/* A packet of a flow that the present policies do not know yet. Whether it may go on. */
__noinline int judge_again(struct packet *packet, struct endpoint *own, struct flow *flow)
{
	if (!packet || !own || !flow)
		return 0;
	__u64 now = bpf_ktime_get_ns();
	__u32 generation = GATE_GENERATION(gate_of(packet->key.endpoint, flow->direction));
	struct report report = { .flags = EVENT_ENDED };
	__u64 word = decide(packet, own, flow->direction, &report);
	flow->generation = generation;
	if (!denies(word)) {
		unpack(&flow->judgement, word);
		return 1;
	}
	count(reason_of(word));
	flow->seen = now;
	if (!(__sync_fetch_and_or(&flow->state, FLOW_ENDED | FLOW_CLOSED) & FLOW_CLOSED))
		close(packet, own, flow, &report);
	return 0;
}

/* Follows a TCP connection to its end. Both directions may be seen at once on two processors, hence the
 * atomic updates: whoever makes the connection closed tells of it. */
static __always_inline void note_tcp(struct packet *packet, struct endpoint *own, struct flow *flow,
				     int from_opener)
{
	__u32 state = flow->state, news = 0, both = FLOW_FIN_OPENER | FLOW_FIN_OTHER;
	if (from_opener && state & FLOW_REPLIED && packet->tcp & TCP_ACK)
		news |= FLOW_ASSURED;
	if (packet->tcp & TCP_FIN)
		news |= from_opener ? FLOW_FIN_OPENER : FLOW_FIN_OTHER;
	if ((state | news) != state)
		state = __sync_fetch_and_or(&flow->state, news) | news;
	if (state & FLOW_CLOSED || !(packet->tcp & TCP_RST || (state & both) == both))
		return;
	state = __sync_fetch_and_or(&flow->state, FLOW_CLOSED);
	if (!(state & (FLOW_CLOSED | FLOW_QUIET))) {
		struct report report = {};
		close(packet, own, flow, &report);
	}
}

static __always_inline int track(struct packet *packet, struct endpoint *own)
{
	struct flow *flow = bpf_map_lookup_elem(&FLOWS, &packet->key);
	if (!flow)
		return begin(packet, own);
	__u64 now = bpf_ktime_get_ns();
	int from_opener = packet->direction == flow->direction;
	if (is_idle(flow, packet->key.protocol, now))
		return begin(packet, own);
	__u32 generation = GATE_GENERATION(gate_of(packet->key.endpoint, flow->direction));
	if (flow->state & FLOW_ENDED) {
		/* Only a new attempt is judged anew, or anything once the policies have changed again. */
		if (from_opener && (packet->opens || (generation != flow->generation &&
						      packet->key.protocol != PROTO_TCP)))
			return begin(packet, own);
		flow->seen = now;
		return TCX_DROP;
	}
	if (packet->opens && from_opener && flow->state & (FLOW_ASSURED | FLOW_CLOSED)) {
		/* The same ports once more. */
		if (!(flow->state & (FLOW_CLOSED | FLOW_QUIET))) {
			struct report report = {};
			close(packet, own, flow, &report);
		}
		return begin(packet, own);
	}
	if (packet->opens && !from_opener) {
		/* No answer: the other side opens a connection of its own between the same ports. */
		struct report report = { .kind = EVENT_JUDGED, .direction = packet->direction };
		__u64 word = decide(packet, own, packet->direction, &report);
		if (denies(word)) {
			count(reason_of(word));
			if (is_news(packet))
				tell(packet, own, &report);
			return TCX_DROP;
		}
	}
	if (generation != flow->generation && !judge_again(packet, own, flow))
		return TCX_DROP;
	flow->seen = now;
	if (packet->payload)
		__sync_fetch_and_add(from_opener ? &flow->sent : &flow->received, packet->payload);
	if (!from_opener && !(flow->state & FLOW_REPLIED))
		__sync_fetch_and_or(&flow->state, FLOW_REPLIED);
	if (packet->key.protocol == PROTO_TCP)
		note_tcp(packet, own, flow, from_opener);
	return TCX_NEXT;
}

#endif
