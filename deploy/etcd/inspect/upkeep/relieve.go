package upkeep

import (
	"context"
	"fmt"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"gridrouter.io/deploy/etcd/inspect"
	"gridrouter.io/deploy/etcd/inspect/brief"
)

// RelieveOptions say how a cluster without space is relieved.
type RelieveOptions struct {
	// Compact says what of the history is kept. Where that leaves too little space, only the present
	// is kept: see Compactions in the result.
	Compact CompactOptions
	// Defragment says how patiently members are defragmented. Those are that take more than UsedPercent of their
	// quota, or have a tenth of it free, whatever FreeAbove says.
	Defragment DefragmentOptions
	// UsedPercent is how much of the quota may be taken afterwards for the alarm to be disarmed, 1 to 99;
	// 0: 90. With more, it would be raised again at once.
	UsedPercent int64
}

// Relief is what was done.
type Relief struct {
	// Needed says whether NOSPACE was raised; if not, nothing was done.
	Needed bool `json:"needed"`
	// Compactions and Defragmentation are what was done on the way.
	Compactions     []Compaction    `json:"compactions,omitempty"`
	Defragmentation Defragmentation `json:"defragmentation"`
	// BeforeBytes and AfterBytes are of the largest database, QuotaBytes is the smallest quota.
	BeforeBytes int64 `json:"beforeBytes"`
	AfterBytes  int64 `json:"afterBytes"`
	QuotaBytes  int64 `json:"quotaBytes"`
	// Disarmed says that the alarm is gone and writes are taken again.
	Disarmed bool `json:"disarmed"`
}

// RelieveNoSpace brings back a cluster that takes no writes because NOSPACE is raised: it compacts, defragments
// one member at a time, and disarms the alarm when every member has space again. It does no more of that than
// is needed. If what is in use fills the quota, the alarm stays raised and the error says so: prune keys or
// raise the quota, and call it again.
func RelieveNoSpace(ctx context.Context, access inspect.Access, options RelieveOptions) (Relief, error) {
	if options.UsedPercent == 0 {
		options.UsedPercent = 90
	}
	if options.UsedPercent < 1 || options.UsedPercent > 99 {
		return Relief{}, fmt.Errorf("%d %% of the quota may be taken: it must be 1 to 99", options.UsedPercent)
	}
	if err := options.Compact.check(); err != nil {
		return Relief{}, err
	}
	if err := options.Defragment.check(); err != nil {
		return Relief{}, err
	}
	members, err := inspect.Members(ctx, access)
	if err != nil {
		return Relief{}, err
	}
	client, err := access.Connect(ctx, inspect.Voters(members)...)
	if err != nil {
		return Relief{}, err
	}
	defer func() { _ = client.Close() }()
	alarms, err := raised(ctx, client, pb.AlarmType_NOSPACE)
	if err != nil || len(alarms) == 0 {
		return Relief{}, err
	}
	r := &Relief{Needed: true}
	used, err := r.measure(ctx, access)
	if err != nil {
		return *r, err
	}
	r.BeforeBytes = r.AfterBytes
	if used.size > options.UsedPercent || used.free > worth {
		if err := r.makeSpace(ctx, access, options); err != nil {
			return *r, err
		}
	}
	if err := r.disarm(ctx, client); err != nil {
		return *r, err
	}
	return *r, brief.Fit(r, func() bool { return brief.DropLast(&r.Defragmentation.Members) })
}

// space is how much of its quota the fullest member takes, in percent: by its file, and by what is in use. Free is
// the most that a member would give back, in percent too.
type space struct{ size, inUse, free int64 }

// worth is how many percent of the quota must be free in a file for a defragmentation: with less, the alarm would
// not be long in coming again.
const worth = 10

func (r *Relief) measure(ctx context.Context, access inspect.Access) (space, error) {
	members, err := inspect.Members(ctx, access)
	if err != nil {
		return space{}, err
	}
	var s space
	r.AfterBytes = 0
	for _, m := range members {
		if m.Learner { // it raises no alarm, and cannot be defragmented
			continue
		}
		if !m.Answers() {
			return space{}, fmt.Errorf("%s does not answer, so that nobody knows what space it has: %s", m.Endpoint, m.Error)
		}
		if m.QuotaBytes <= 0 {
			return space{}, fmt.Errorf("%s does not tell its quota: etcd tells it from 3.6 on", m.Endpoint)
		}
		s.size, s.inUse = max(s.size, m.DBBytes*100/m.QuotaBytes), max(s.inUse, m.InUseBytes*100/m.QuotaBytes)
		s.free = max(s.free, m.FreeBytes()*100/m.QuotaBytes)
		r.AfterBytes = max(r.AfterBytes, m.DBBytes)
		if r.QuotaBytes == 0 || m.QuotaBytes < r.QuotaBytes {
			r.QuotaBytes = m.QuotaBytes
		}
	}
	return s, nil
}

// makeSpace compacts, and compacts further where that was not enough, then gives back what is free.
func (r *Relief) makeSpace(ctx context.Context, access inspect.Access, options RelieveOptions) error {
	for _, keep := range []int64{options.Compact.Keep, 0} {
		done, err := compact(ctx, access, CompactOptions{Keep: keep, Timeout: options.Compact.Timeout})
		if err != nil {
			return err
		}
		r.Compactions = append(r.Compactions, done)
		used, err := r.measure(ctx, access)
		if err != nil {
			return err
		}
		if used.inUse <= options.UsedPercent { // less, since what was freed last is counted later
			break
		}
	}
	options.Defragment.due = func(m inspect.Member) bool {
		quota := max(1, m.QuotaBytes) // a member may cease to tell it
		return m.DBBytes*100/quota > options.UsedPercent || m.FreeBytes()*100/quota > worth
	}
	var err error
	if r.Defragmentation, err = Defragment(ctx, access, options.Defragment); err != nil {
		return err
	}
	used, err := r.measure(ctx, access)
	if err == nil && used.size > options.UsedPercent {
		err = fmt.Errorf("%d %% of the quota of %d bytes are taken after compaction and defragmentation, more than %d %%: "+
			"prune keys that nobody needs (see usage by prefix) or raise the quota, then relieve it again; the alarm stays raised",
			used.size, r.QuotaBytes, options.UsedPercent)
	}
	return err
}

func (r *Relief) disarm(ctx context.Context, client *clientv3.Client) error {
	alarms, err := raised(ctx, client, pb.AlarmType_NOSPACE)
	if err != nil {
		return err
	}
	for _, alarm := range alarms {
		bounded, cancel := context.WithTimeout(ctx, askTimeout)
		_, err := client.AlarmDisarm(bounded, &clientv3.AlarmMember{MemberID: alarm.MemberID, Alarm: alarm.Alarm})
		cancel()
		if err != nil {
			return fmt.Errorf("disarm NOSPACE of member %x: %w", alarm.MemberID, err)
		}
	}
	r.Disarmed = true
	return nil
}
