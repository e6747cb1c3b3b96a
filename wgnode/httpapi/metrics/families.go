package metrics

func nodeFamilies() []Family {
	return []Family{
		{"waylume_node_info", Gauge, "What the node is, always 1; key is its public key, or a hash of it.", []string{"version", "dataplane", "key"}},
		{"waylume_node_state", Gauge, "Whether the node is in a state: 1 for the one that it is in.", []string{"state"}},
		{"waylume_node_start_timestamp_seconds", Gauge, "When the node was started.", nil},
		{"waylume_node_problem", Gauge, "Whether something is wrong with the node: 1 while it is, for each kind of problem.", []string{"kind", "area"}},
		{"waylume_node_problem_since_timestamp_seconds", Gauge, "Since when a problem lasts; absent while there is none.", []string{"kind"}},
		{"waylume_node_limitations", Gauge, "How many things this system keeps the dataplane from doing.", nil},
		{"waylume_node_synced_timestamp_seconds", Gauge, "When the dataplane was last found, or brought, to be what it should.", nil},
		{"waylume_node_syncs_total", Counter, "Comparisons of the dataplane with what it should be.", []string{"result"}},
		{"waylume_node_sync_seconds_total", Counter, "Time that all syncs took.", nil},
		{"waylume_node_checkpointed_timestamp_seconds", Gauge, "When usage was last written to the store; absent before.", nil},
		{"waylume_node_checkpoints_total", Counter, "Readings of all counters and writings of what moved.", []string{"result"}},
		{"waylume_node_checkpoint_seconds_total", Counter, "Time that all checkpoints took.", nil},
		{"waylume_node_key_overlap", Gauge, "Whether clients may know the node by its former key, too.", nil},
		{"waylume_node_key_overlap_end_timestamp_seconds", Gauge, "When the overlap of keys ends; absent without one.", nil},
		{"waylume_node_former_key_peers", Gauge, "Peers whose last handshake was with the node's former key.", nil},
		{"waylume_node_unanswered_scrapes_total", Counter, "Scrapes in which the dataplane could not be asked for packets dropped.", nil},
		{"waylume_peers", Gauge, "Peers by state.", []string{"state"}},
		{"waylume_peer_connections", Gauge, "Peers by how they are connected.", []string{"state"}},
		{"waylume_recent_handshakes", Gauge, "The last handshakes of each peer that were judged, up to 64 each.", []string{"result"}},
		{"waylume_removed_peers_total", Counter, "Peers that were removed.", []string{"reason"}},
		{"waylume_accounts", Gauge, "Accounts.", nil},
		{"waylume_pool_addresses", Gauge, "Addresses of the pool that peers are leased from.", []string{"family", "state"}},
		{"waylume_traffic_bytes_total", Counter,
			"Inner IP bytes that were delivered, download towards peers, of all peers, those removed since included.", []string{"direction"}},
		{"waylume_dropped_packets_total", Counter, "Packets of peers that did not pass.", []string{"reason"}},
		{"waylume_events_total", Counter, "What happened, by kind and by whether it concerned a peer, an account or the node.", []string{"kind", "subject"}},
		{"waylume_events_missed_total", Counter, "Events that readers fell too far behind to see.", nil},
	}
}

func peerFamilies() []Family {
	peer := []string{"peer"}
	return []Family{
		{"waylume_peer_traffic_bytes_total", Counter, "Inner IP bytes of a peer that were delivered, download towards it.", []string{"peer", "direction"}},
		{"waylume_peer_up", Gauge, "Whether the peer has a session.", peer},
		{"waylume_peer_last_handshake_timestamp_seconds", Gauge, "When the peer last shook hands; absent when that is not known.", peer},
		{"waylume_peer_endpoint_changes_total", Counter, "How often the peer was heard from another address than before.", peer},
		{"waylume_peers_left_out", Gauge, "Peers without series of their own, as there are more than were asked for.", nil},
	}
}

func httpFamilies() []Family {
	return []Family{
		{"waylume_http_requests_total", Counter, "Requests that were answered; method is GET, POST and so on, status 2xx, 4xx and so on.", []string{"route", "method", "status"}},
		{"waylume_http_request_duration_seconds", Histogram, "Time to answer, streams of events left out.", []string{"route", "method"}},
		{"waylume_http_request_size_bytes", Histogram, "Sizes of the bodies of requests, as far as they were read.", []string{"route"}},
		{"waylume_http_response_size_bytes", Histogram, "Sizes of the bodies of answers, streams of events left out.", []string{"route"}},
		{"waylume_http_requests_in_flight", Gauge, "Requests that are being answered, streams of events included.", nil},
		{"waylume_http_auth_failures_total", Counter, "Requests that were refused for who made them.", []string{"reason"}},
		{"waylume_http_idempotent_replays_total", Counter, "Requests that were answered as before, for their idempotency key.", nil},
	}
}

func storeFamilies() []Family {
	return []Family{
		{"waylume_store_commit_duration_seconds", Histogram, "Time to make a batch durable.", nil},
		{"waylume_store_commits_total", Counter, "Batches that were to be made durable.", []string{"result"}},
		{"waylume_store_mutations_total", Counter, "Records that were written or deleted.", nil},
		{"waylume_store_size_bytes", Gauge, "Size of the store; absent if it does not say.", nil},
	}
}

func certificateFamilies() []Family {
	return []Family{
		{"waylume_tls_certificate_expiry_timestamp_seconds", Gauge, "When the API's certificate ends; absent without one.", nil},
	}
}

func fleetFamilies() []Family {
	return []Family{
		{"waylume_fleet_phase", Gauge, "How the node stands with its fleet: 1 for the phase that it is in.", []string{"phase"}},
		{"waylume_fleet_registered", Gauge, "Whether the node has registered since it was started, and need not again.", nil},
		{"waylume_fleet_last_success_timestamp_seconds", Gauge, "When the fleet last answered without an error; absent before.", nil},
		{"waylume_fleet_failures", Gauge, "Calls that have failed since the last one that did not.", nil},
		{"waylume_fleet_breaker", Gauge, "Whether the circuit breaker is in a state: 1 for the one that it is in.", []string{"state"}},
		{"waylume_fleet_clock_offset_seconds", Gauge, "How far the fleet's clock is ahead of the node's.", nil},
		{"waylume_fleet_draining", Gauge, "Whether the node is to be drained, by whether it wants that itself or the fleet does.", []string{"by"}},
		{"waylume_fleet_calls_total", Counter, "Calls that were made, by what for.", []string{"call"}},
		{"waylume_fleet_failed_calls_total", Counter, "Calls that failed, of all kinds.", nil},
		{"waylume_fleet_releases_total", Counter, "Releases that the node has carried out since the fleet knows it, whichever process did.", nil},
		{"waylume_fleet_pending_releases", Gauge, "Releases that the node knows of and has not carried out.", nil},
		{"waylume_fleet_usage_pending", Gauge, "Whether there is usage that waits to be taken.", nil},
		{"waylume_fleet_usage_reported_timestamp_seconds", Gauge, "Up to when usage was reported; absent before the first report.", nil},
		{"waylume_fleet_usage_lost_total", Counter, "How often usage turned out to be lost before it was reported.", nil},
		{"waylume_fleet_fault", Gauge, "Whether the last try failed to do something, for each thing that can fail.", []string{"fault"}},
	}
}

func loadFamilies() []Family {
	return []Family{
		{"waylume_load_score", Gauge, "How loaded the node is, 0 to 1: the highest fraction that is known.", nil},
		{"waylume_load_fraction", Gauge, "How much of something is used, 0 to 1; absent while that is not known.", []string{"resource"}},
		{"waylume_load_uplink_bytes_per_second", Gauge, "What passed the uplink since the measurement before.", []string{"direction"}},
		{"waylume_load_uplink_packets_per_second", Gauge, "What passed the uplink since the measurement before.", []string{"direction"}},
		{"waylume_scaling_signal", Gauge, "What the load calls for: 1 for the signal that there is.", []string{"signal"}},
	}
}
