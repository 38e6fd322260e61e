package resend

import (
	"context"
	"errors"
	"log/slog"
	"regexp"
	"strconv"
	"time"

	"github.com/golang/snappy"
	remoteapi "github.com/prometheus/client_golang/exp/api/remote"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"github.com/prometheus/prometheus/storage/remote"
)

// maxRate bounds the samples that one receiver is sent again, per second.
const maxRate = 100_000

// sender sends batches to one receiver.
type sender struct {
	receiver *receiver
	log      *slog.Logger
	first    remoteapi.WriteMessageType // what is configured
	client   map[remoteapi.WriteMessageType]remote.WriteClient

	// After maxRefused single samples in a row, batches are given up of which both halves are
	// refused; 0 for never. refused is how many there were.
	maxRefused, refused int
}

func newSender(r *receiver, log *slog.Logger) (*sender, error) {
	s := &sender{receiver: r, log: log.With("remote_name", r.name, "url", r.url), first: r.config.ProtobufMessage}
	if s.first == "" {
		s.first = remoteapi.WriteV1MessageType
	}
	s.client = make(map[remoteapi.WriteMessageType]remote.WriteClient)
	for _, message := range []remoteapi.WriteMessageType{remoteapi.WriteV1MessageType, remoteapi.WriteV2MessageType} {
		c, err := remote.NewWriteClient(r.name, &remote.ClientConfig{
			URL: r.config.URL, WriteProtoMsg: message, Timeout: r.config.RemoteTimeout,
			HTTPClientConfig: r.config.HTTPClientConfig, SigV4Config: r.config.SigV4Config,
			AzureADConfig: r.config.AzureADConfig, GoogleIAMConfig: r.config.GoogleIAMConfig,
			Headers: r.config.Headers, RetryOnRateLimit: true, RoundRobinDNS: r.config.RoundRobinDNS,
		})
		if err != nil {
			return nil, err
		}
		s.client[message] = c
	}
	return s, nil
}

// batch is a part of what is sent again, as a compressed message of version 1.0.
type batch struct {
	body    []byte
	samples int
}

func newBatch(series []prompb.TimeSeries) (batch, error) {
	body, err := (&prompb.WriteRequest{Timeseries: series}).Marshal()
	return batch{snappy.Encode(nil, body), count(series)}, err
}

func (b batch) series() ([]prompb.TimeSeries, error) {
	body, err := snappy.Decode(nil, b.body)
	if err != nil {
		return nil, err
	}
	var all prompb.WriteRequest
	return all.Timeseries, errors.Join(all.Unmarshal(body))
}

func count(series []prompb.TimeSeries) (n int) {
	for _, s := range series {
		n += len(s.Samples) + len(s.Histograms)
	}
	return n
}

// v2 is the batch as a compressed message of version 2.0.
func (b batch) v2() ([]byte, error) {
	series, err := b.series()
	if err != nil {
		return nil, err
	}
	symbols := writev2.NewSymbolTable()
	var builder labels.ScratchBuilder
	all := make([]writev2.TimeSeries, 0, len(series))
	for _, s := range series {
		one := writev2.TimeSeries{LabelsRefs: symbols.SymbolizeLabels(s.ToLabels(&builder, nil), nil)}
		for _, x := range s.Samples {
			one.Samples = append(one.Samples, writev2.Sample{Value: x.Value, Timestamp: x.Timestamp})
		}
		for _, h := range s.Histograms {
			if h.IsFloatHistogram() {
				one.Histograms = append(one.Histograms, writev2.FromFloatHistogram(0, h.Timestamp, h.ToFloatHistogram()))
			} else {
				one.Histograms = append(one.Histograms, writev2.FromIntHistogram(0, h.Timestamp, h.ToIntHistogram()))
			}
		}
		all = append(all, one)
	}
	body, err := (&writev2.Request{Symbols: symbols.Symbols(), Timeseries: all}).Marshal()
	return snappy.Encode(nil, body), err
}

// halves splits the batch between series, or a single series between its samples.
func (b batch) halves() (halves [2]batch, err error) {
	all, err := b.series()
	if err != nil {
		return halves, err
	}
	parts := [2][]prompb.TimeSeries{all[:len(all)/2], all[len(all)/2:]}
	if len(all) == 1 {
		one, other := all[0], all[0]
		// Samples and histograms of one series are cut at the same time.
		if n := len(one.Samples) / 2; n > 0 {
			one.Samples, other.Samples = one.Samples[:n], other.Samples[n:]
		}
		if n := len(one.Histograms) / 2; n > 0 {
			one.Histograms, other.Histograms = one.Histograms[:n], other.Histograms[n:]
		}
		if len(all[0].Samples) == 1 && len(all[0].Histograms) == 1 {
			one.Histograms, other.Samples = nil, nil
		}
		parts = [2][]prompb.TimeSeries{{one}, {other}}
	}
	for i := range halves {
		if halves[i], err = newBatch(parts[i]); err != nil {
			return halves, err
		}
	}
	return halves, nil
}

// errUnacknowledged is a response of 2xx that does not say that anything was written.
var errUnacknowledged = errors.New("the response does not acknowledge what was written, as protocol version 2.0 demands: the receiver probably knows version 1.0 only; set protobuf_message: prometheus.WriteRequest, or leave it out")

// deliver sends a batch until the receiver has taken or refused it. The results are the
// samples of either kind; the error is that ctx has ended.
func (s *sender) deliver(ctx context.Context, b batch, failed func(error)) (taken, refused int, err error) {
	return s.deliverPart(ctx, b, false, failed)
}

// deliverPart delivers a batch, which may be the last part to try if it is refused.
func (s *sender) deliverPart(ctx context.Context, b batch, last bool, failed func(error)) (taken, refused int, err error) {
	begin := time.Now()
	backoff := time.Duration(s.receiver.config.QueueConfig.MinBackoff)
	for try := 0; ; try++ {
		var again bool
		if taken, refused, again, err = s.try(ctx, b, try); !again {
			break
		}
		if ctx.Err() != nil {
			return 0, 0, ctx.Err()
		}
		failed(err)
		if !pause(ctx, backoff) {
			return 0, 0, ctx.Err()
		}
		backoff = min(2*backoff, time.Duration(s.receiver.config.QueueConfig.MaxBackoff))
	}
	if err != nil {
		failed(err)
	}
	switch {
	case taken > 0:
		s.refused = 0
	case b.samples <= 1:
		s.refused++
	case taken+refused > 0:
	case last && s.hopeless():
		refused = b.samples
	default: // which of them it refuses is not known
		return s.deliverHalves(ctx, b, s.hopeless(), failed)
	}
	pause(ctx, time.Duration(b.samples)*time.Second/maxRate-time.Since(begin))
	return taken, refused, ctx.Err()
}

func (s *sender) hopeless() bool { return s.maxRefused > 0 && s.refused >= s.maxRefused }

func (s *sender) deliverHalves(ctx context.Context, b batch, last bool, failed func(error)) (taken, refused int, err error) {
	halves, err := b.halves()
	if err != nil {
		return 0, b.samples, nil
	}
	for _, half := range halves {
		t, r, err := s.deliverPart(ctx, half, last, failed)
		taken, refused = taken+t, refused+r
		if err != nil {
			return taken, refused, err
		}
	}
	return taken, refused, nil
}

// try sends a batch once. again says that the receiver is not ready for it. Neither taken
// nor refused means that a part was refused, and which is not known.
func (s *sender) try(ctx context.Context, b batch, attempt int) (taken, refused int, again bool, err error) {
	stats, err := s.store(ctx, s.first, b, attempt)
	second := s.first == remoteapi.WriteV2MessageType
	if err != nil && !second && !retryable(err) {
		// Prometheus drops all of a message of version 1.0 that has one sample it does not
		// want, such as one it already has. Of version 2.0 it takes the rest.
		if other, v2err := s.store(ctx, remoteapi.WriteV2MessageType, b, attempt); other.Confirmed {
			stats, err, second = other, v2err, true
		}
	}
	switch {
	case err != nil && retryable(err):
		return 0, 0, true, err
	case second && stats.Confirmed:
		taken = stats.Samples + stats.Histograms
		return taken, max(0, b.samples-taken), false, nil
	case second && err == nil:
		return 0, 0, true, errUnacknowledged
	case err == nil, status(err) == 409: // Thanos has taken what it does not have yet
		return b.samples, 0, false, nil
	case b.samples <= 1:
		return 0, b.samples, false, err
	}
	return 0, 0, false, nil
}

func (s *sender) store(ctx context.Context, message remoteapi.WriteMessageType, b batch, attempt int) (remote.WriteResponseStats, error) {
	body := b.body
	if message == remoteapi.WriteV2MessageType {
		var err error
		if body, err = b.v2(); err != nil {
			return remote.WriteResponseStats{}, err
		}
	}
	return s.client[message].Store(ctx, body, attempt)
}

var statusCode = regexp.MustCompile(`^server returned HTTP status (\d{3})`)

// status is the code in an error of upstream's client, 0 for none.
func status(err error) int {
	m := statusCode.FindStringSubmatch(err.Error())
	if m == nil {
		return 0
	}
	n, _ := strconv.Atoi(m[1])
	return n
}

// retryable reports whether an error says nothing about the samples: upstream's queue
// gives them up after some of these, but they are stored here.
func retryable(err error) bool {
	if errors.As(err, &remote.RecoverableError{}) {
		return true
	}
	switch status(err) {
	case 401, 402, 403, 404, 405, 407, 408, 415, 421, 425, 429:
		return true
	}
	return status(err) < 400 // redirects, and requests that could not be made
}

// pause reports whether ctx has not ended.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
