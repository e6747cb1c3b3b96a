package shaping

import (
	"errors"
	"fmt"
)

// Limit is a speed limit, each direction apart. The zero value limits nothing. Limits are compared with ==.
type Limit struct {
	// Download is the limit of packets towards the peer.
	Download Rate `json:"download"`
	// Upload is the limit of packets from the peer.
	Upload Rate `json:"upload"`
}

// Validate returns one error that names each direction whose rate is out of range; it matches [ErrRateRange].
func (l Limit) Validate() error {
	var errs []error
	if err := l.Download.Validate(); err != nil {
		errs = append(errs, fmt.Errorf("download: %w", err))
	}
	if err := l.Upload.Validate(); err != nil {
		errs = append(errs, fmt.Errorf("upload: %w", err))
	}
	return errors.Join(errs...)
}

// IsUnlimited reports that neither direction is limited.
func (l Limit) IsUnlimited() bool { return l == Limit{} }

// Lower returns the lower of both limits in each direction, [Unlimited] being the highest.
func (l Limit) Lower(other Limit) Limit {
	return Limit{Download: l.Download.Lower(other.Download), Upload: l.Upload.Lower(other.Upload)}
}

// String prints both directions: "20mbit down, 5mbit up", or "unlimited".
func (l Limit) String() string {
	if l.IsUnlimited() {
		return unlimitedText
	}
	return fmt.Sprintf("%v down, %v up", l.Download, l.Upload)
}
