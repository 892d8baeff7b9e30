package observe_test

import (
	"context"
	"net"
	"strings"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.uber.org/zap/zaptest"
	"google.golang.org/grpc"

	"gridrouter.io/deploy/operator/etcd/observe"
)

// hostile is what an image may run that somebody calls etcd's: it answers with as much as it can.
type hostile struct {
	pb.UnimplementedMaintenanceServer
	pb.UnimplementedClusterServer

	list pb.MemberListResponse
}

func (h *hostile) Status(context.Context, *pb.StatusRequest) (*pb.StatusResponse, error) {
	long := strings.Repeat("9", 100_000)
	return &pb.StatusResponse{
		Header: &pb.ResponseHeader{MemberId: 1, ClusterId: 1}, Leader: 1, Version: long, StorageVersion: long, Errors: []string{long, long, long},
	}, nil
}

func (h *hostile) MemberList(context.Context, *pb.MemberListRequest) (*pb.MemberListResponse, error) {
	return &h.list, nil
}

func (h *hostile) Alarm(context.Context, *pb.AlarmRequest) (*pb.AlarmResponse, error) {
	answer := &pb.AlarmResponse{}
	for range 1000 {
		answer.Alarms = append(answer.Alarms, &pb.AlarmMember{MemberID: 1, Alarm: pb.AlarmType_NOSPACE})
	}
	return answer, nil
}

func (h *hostile) serve(t *testing.T) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer(grpc.MaxSendMsgSize(1 << 30))
	pb.RegisterMaintenanceServer(s, h)
	pb.RegisterClusterServer(s, h)
	ended := make(chan struct{})
	go func() { defer close(ended); _ = s.Serve(listener) }()
	t.Cleanup(func() { s.Stop(); <-ended })
	return "http://" + listener.Addr().String()
}

func TestWhatAHostileMemberAnswersIsBounded(t *testing.T) {
	for _, h := range []*hostile{
		{list: pb.MemberListResponse{Members: []*pb.Member{{ID: 1, Name: strings.Repeat("x", 64<<20)}}}},
		{list: pb.MemberListResponse{Members: make([]*pb.Member, 10_000)}},
		{list: pb.MemberListResponse{Members: []*pb.Member{{ID: 1}}}},
	} {
		for i := range h.list.Members {
			if h.list.Members[i] == nil {
				h.list.Members[i] = &pb.Member{ID: uint64(i)}
			}
		}
		p := observe.NewPool(zaptest.NewLogger(t))
		p.Follow("a", observe.Target{Endpoints: map[string]string{"a": h.serve(t)}}, quick, func() {})
		small := len(h.list.Members) == 1 && h.list.Members[0].Name == ""
		report := reported(t, p, "a report", func(r observe.Report) bool { return r.Members["a"].Err == nil && r.Known == small })
		p.Close()
		m := report.Members["a"]
		if len(m.Version)+len(m.StorageVersion) > 200 || len(m.Errors) > 4 || len(m.Errors) > 0 && len(m.Errors[0]) > 600 {
			t.Errorf("a version of %d characters, and %d complaints", len(m.Version), len(m.Errors))
		}
		if len(report.List) > 64 || len(report.Alarms[1]) > 4 {
			t.Errorf("a list of %d members, and %d alarms of one", len(report.List), len(report.Alarms[1]))
		}
	}
}
