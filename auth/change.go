package auth

// ChangeKind says what a Change is.
type ChangeKind uint8

// The kinds of changes, and which fields of a Change they fill in besides User.
const (
	UserCreated            ChangeKind = iota + 1 // Tags
	UserDeleted                                  // nothing; the user's permissions were deleted before
	PasswordChanged                              // nothing
	PasswordCleared                              // nothing
	TagsSet                                      // Tags
	LimitSet                                     // Limit, N
	LimitCleared                                 // Limit
	PermissionCreated                            // Permission
	PermissionDeleted                            // VHost
	TopicPermissionCreated                       // TopicPermission
	TopicPermissionDeleted                       // VHost, Exchange
)

// Change is one change of a Registry.
type Change struct {
	Kind ChangeKind
	User string
	// Now is the user after a change of the user; nil if it was deleted, and for
	// permissions.
	Now             *User
	VHost, Exchange string
	Tags            []string
	Limit           Limit
	N               int
	Permission      Permission
	TopicPermission TopicPermission
}

// changed tells of a change. The caller holds mu.
func (r *Registry) changed(c Change) {
	if r.onChange != nil {
		r.onChange(c)
	}
}

// commit ends a change: it tells that all of it was told, unlocks mu, and waits
// until it is settled. A failure to do so is put into err, unless that says something
// else already.
func (r *Registry) commit(err *error) {
	if r.onDone != nil {
		r.onDone()
	}
	r.mu.Unlock()
	if r.settled == nil {
		return
	}
	if unsettled := r.settled(); *err == nil {
		*err = unsettled
	}
}
