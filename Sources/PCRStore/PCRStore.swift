// PCRStore
