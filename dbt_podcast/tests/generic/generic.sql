{#- Each test selects the rows that contradict it. -#}

{% test unique_combination(model, columns) %}
select {{ columns | join(", ") }}
from {{ model }}
group by {{ columns | join(", ") }}
having count(*) > 1
{% endtest %}

{% test at_least(model, column_name, minimum) %}
select {{ column_name }}
from {{ model }}
where {{ column_name }} < {{ minimum }}
{% endtest %}

{% test not_blank(model, column_name) %}
select {{ column_name }}
from {{ model }}
where {{ trim_unicode(column_name) }} = ''
{% endtest %}

{% test same_row_count(model, other) %}
select *
from (select count(*) as row_count from {{ model }}) as here
cross join (select count(*) as row_count from {{ other }}) as there
where here.row_count <> there.row_count
{% endtest %}

{% test same_row_count_by_batch(model) %}
select
    accepted_batches.batch_id,
    accepted_batches.row_count,
    counted.row_count as validated_row_count
from {{ ref("accepted_batches") }} as accepted_batches
full outer join (select batch_id, count(*) as row_count from {{ model }} group by batch_id) as counted
    on accepted_batches.batch_id = counted.batch_id
where coalesce(accepted_batches.row_count, 0) <> coalesce(counted.row_count, 0)
{% endtest %}

{% test every_valid_row_has_its_event(model) %}
select validated_events.batch_id, validated_events.line_number
from {{ ref("validated_events") }} as validated_events
left join {{ model }} as events
    on validated_events.key_hash = events.key_hash
where validated_events.is_valid
    and events.key_hash is null
{% endtest %}

{% test duration_where_expected(model) %}
select interaction_id
from {{ model }}
where (event_type in ('play', 'complete')) <> (duration is not null)
{% endtest %}

{% test profile_adds_up(model) %}
select batch_id
from {{ model }}
where lines <> invalid + valid
    or malformed > invalid
    or malformed <> malformed_json
{% endtest %}

{% test quality_adds_up(model) %}
select load_date
from {{ model }}
where received <> malformed + invalid + duplicates + facts + held_back
    or batches <> published_batches + quarantined_batches + released_batches + discarded_batches + superseded_batches + empty_batches
    or malformed <> malformed_json
{% endtest %}

{% test between(model, column_name, minimum, maximum) %}
select {{ column_name }}
from {{ model }}
where {{ column_name }} < {{ minimum }}
    or {{ column_name }} > {{ maximum }}
{% endtest %}

{% test every_listening_event_is_in_a_listen(model) %}
select *
from (select count(*) as event_count from {{ ref("fact_user_interactions") }} where event_type = 'play') as facts
cross join (select coalesce(sum(starts), 0) as event_count from {{ model }}) as listens
where facts.event_count <> listens.event_count
{% endtest %}

{% test same_sum(model, column, other) %}
select *
from (select coalesce(sum({{ column }}), 0) as total from {{ model }}) as here
cross join (select count(*) as total from {{ other }}) as there
where here.total <> there.total
{% endtest %}

{% test same_multi_episode_listeners(model) %}
select event_date
from (select event_date, count(*) as listener_count from {{ model }} where is_multi_episode group by event_date) as here
full outer join {{ ref("multi_episode_listeners_daily") }} as there using (event_date)
full outer join (
    select event_date, count(*) as listener_count
    from (
        select event_date, user_id
        from {{ ref("fact_user_interactions") }}
        where event_type in ('play', 'complete')
        group by event_date, user_id
        having count(distinct episode_id) >= 3
    ) as listeners
    group by event_date
) as by_facts using (event_date)
where here.listener_count is distinct from there.listener_count
    or here.listener_count is distinct from by_facts.listener_count
{% endtest %}

{% test same_listen_through(model) %}
select country
from (select * from {{ model }} where not is_unknown and completion_count > 0) as here
full outer join {{ ref("listen_through_by_country") }} as there using (country)
full outer join (
    select
        users.country,
        count(*) as completion_count,
        {{ exact_mean("cast(facts.duration as double) / episodes.duration_seconds") }} as avg_listen_through_rate
    from {{ ref("fact_user_interactions") }} as facts
    inner join {{ ref("dim_users") }} as users using (user_id)
    inner join {{ ref("dim_episodes") }} as episodes using (episode_id)
    where facts.event_type = 'complete'
        and {{ trim_unicode("users.country") }} <> ''
        and episodes.duration_seconds > 0
    group by users.country
) as by_facts using (country)
where here.completion_count is distinct from there.completion_count
    or here.avg_listen_through_rate is distinct from there.avg_listen_through_rate
    or here.completion_count is distinct from by_facts.completion_count
    or here.avg_listen_through_rate is distinct from by_facts.avg_listen_through_rate
{% endtest %}
